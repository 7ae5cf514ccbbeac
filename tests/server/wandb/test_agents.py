"""Unmodified agents of wandb: they get their runs from our engines, and are stopped by them."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agents.test_functions import SEED
from tune_bridge.wire import Settings

pytestmark = pytest.mark.slow

FAST = {"WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1"}
TRAIN = """\
import wandb
run = wandb.init()
for step in range(3):
    run.log({"loss": (run.config.x - 0.5) ** 2 + step})
print(type(run.config.whole).__name__)
"""
CONFIG: dict[str, Any] = {
    "program": "train.py",
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {
        "x": {"min": 0.0, "max": 1.0},
        "whole": {"distribution": "q_uniform", "min": 2, "max": 8, "q": 2.0},
    },
}


def make(place: Any, **changes: Any) -> str:
    settings = Settings(max_lost=0, quarantine=0)
    config = {**CONFIG, **changes}
    return str(place.controller.create(config, project="agents", settings=settings).id)


def until(true: Callable[[], Any], seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)
    return found


def states(place: Any, sweep: str) -> list[str]:
    return sorted(run.state for run in place.backend.runs(sweep))


def test_two_agents_share_a_sweep(place):
    place.write("train.py", TRAIN)
    sweep = make(place, run_cap=3)
    agents = [
        place.start("wandb", "agent", f"local/agents/{sweep}", env=FAST),
        place.start("wandb", "agent", "--count", "1", sweep, env=FAST),  # a bare id
    ]
    for agent in agents:
        said, _ = agent.communicate(timeout=200)
        assert agent.returncode == 0, said
    kept = place.backend.sweep(sweep)
    runs = place.backend.runs(sweep)
    assert (kept.state, [run.state for run in runs]) == ("finished", ["finished"] * 3)
    assert {run.rows for run in runs} == {3}
    told = [event for event in place.backend.events(sweep) if event["event"] == "tell"]
    assert len(told) == 9, "each row has reached the engine once"
    for run in runs:
        assert isinstance(run.config["whole"], float), "as the engine has drawn it"
        assert run.summary["loss"] == pytest.approx((run.config["x"] - 0.5) ** 2 + 2)
    assert len({run.meta["agent"] for run in runs}) == 2


def test_the_quickstart_of_wandb_word_for_word(place):
    place.write("quickstart.py", SEED.replace("import tune_bridge as wandb", "import wandb"))
    hurried = """\
        import runpy
        from wandb.agents.pyagent import Agent
        Agent.HEARTBEAT_SLEEP_SECONDS = 0.5  # five, for each of ten runs
        runpy.run_path("quickstart.py")
        """
    place.call(sys.executable, place.write("hurried.py", hurried))
    (sweep,) = place.backend.sweeps(project="my-first-sweep")
    runs = place.backend.runs(sweep.id)
    assert [run.state for run in runs] == ["finished"] * 10
    for run in runs:
        assert run.summary["score"] == run.config["x"] ** 3 + run.config["y"]


def test_a_function(place):
    place.write("config.json", json.dumps(CONFIG))
    found = place.python(
        """
        sweep = wandb.sweep(json.load(open("config.json")), project="agents")
        seen = []
        def function():
            with wandb.init() as run:
                seen.append(dict(run.config))
                run.log({"loss": run.config.x})
        wandb.agent(sweep, function=function, count=2)
        answer({"sweep": sweep, "seen": seen})
        """,
        **FAST,
    )
    runs = place.backend.runs(found["sweep"])
    assert [run.config for run in runs][:2] == found["seen"]
    assert [run.state for run in runs][:2] == ["finished"] * 2


def test_a_scheduler_stops_runs_of_an_agent(place):
    place.write(
        "endless.py",
        """\
        import time, wandb
        run = wandb.init()
        for step in range(100000):
            run.log({"loss": 1.0 + run.config.n})
            time.sleep(0.2)
        """,
    )
    tune = {"version": 1, "stop": {"training_iteration": 5}}
    sweep = make(
        place,
        program="endless.py",
        method="grid",
        parameters={"n": {"values": [1, 2]}},
        controller={"type": "cloud", "tune": tune},
    )
    place.call("wandb", "agent", sweep, **FAST)
    runs = place.backend.runs(sweep)
    assert [(run.state, run.stopped_early) for run in runs] == [("finished", True)] * 2
    assert all(run.rows >= 5 for run in runs)
    assert place.backend.sweep(sweep).state == "finished"
    shown = place.python(
        f"answer([r.state for r in wandb.Api().sweep('local/agents/{sweep}').runs])"
    )
    assert shown == ["killed", "killed"]


def test_programs_that_fail_are_killed_or_never_begin(place):
    place.write(
        "worse.py",
        """\
        import os, signal, sys, wandb
        kind = sys.argv[1].partition("=")[2]
        if kind == "early":
            sys.exit(1)
        run = wandb.init()
        run.log({"loss": 1})
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "fail":
            raise ValueError("no")
        """,
    )
    kinds = ["early", "fail", "fine", "kill"]
    sweep = make(place, program="worse.py", method="grid", parameters={"k": {"values": kinds}})
    place.call("wandb", "agent", sweep, WANDB_AGENT_DISABLE_FLAPPING="true", **FAST)
    found = {run.config["k"]: (run.state, run.exit_code) for run in place.backend.runs(sweep)}
    assert found == {
        "early": ("failed", None), "fail": ("failed", 1), "fine": ("finished", 0),
        "kill": ("crashed", None),
    }  # fmt: skip
    assert place.backend.sweep(sweep).state == "finished"


def test_a_cancel_ends_agents_and_their_programs(place):
    place.write(
        "waits.py",
        """\
        import os, pathlib, time, wandb
        run = wandb.init()
        run.log({"loss": 1})
        pathlib.Path(f"pid-{run.id}").write_text(str(os.getpid()))
        time.sleep(10000)
        """,
    )
    sweep = make(place, program="waits.py")
    agent = place.start("wandb", "agent", sweep, env=FAST)
    pid = int(until(lambda: next((p.read_text() for p in place.folder.glob("pid-*")), "")))
    place.call("wandb", "sweep", "--cancel", f"local/agents/{sweep}")
    said, _ = agent.communicate(timeout=100)
    assert agent.returncode == 0, said
    assert states(place, sweep) == ["killed"]
    assert place.backend.sweep(sweep).state == "canceled"

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    until(gone)


def test_an_agent_that_vanishes_is_counted_as_lost(place):
    place.write("sleeps.py", "import time, wandb\nwandb.init()\ntime.sleep(10000)\n")
    settings = Settings(max_lost=0, quarantine=0, lease=3.0)
    config = {**CONFIG, "program": "sleeps.py"}
    sweep = place.controller.create(config, project="agents", settings=settings).id
    agent = place.start("wandb", "agent", sweep, env=FAST)
    until(lambda: any("wandb.attempt" in run.meta for run in place.backend.runs(sweep)))
    children = [
        int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(path) == agent.pid
    ]
    for pid in (agent.pid, *children):
        os.kill(pid, signal.SIGKILL)
    agent.communicate()

    def crashed() -> bool:
        place.controller.tick()
        return states(place, sweep) == ["crashed"]

    until(crashed)
    assert "not been heard of" in place.backend.runs(sweep)[0].message


def _parent(path: Any) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return -1


def test_a_sweep_that_pauses_runs_is_refused(place):
    tune = {
        "version": 1,
        "scheduler": {
            "PopulationBasedTraining": {
                "perturbation_interval": 2,
                "hyperparam_mutations": {"x": {"uniform": [0.0, 1.0]}},
            }
        },
    }
    sweep = make(place, run_cap=4, controller={"type": "cloud", "tune": tune})
    said = place.call("wandb", "agent", sweep, fails=True, WANDB_SILENT="false")
    assert f"tune-bridge agent {sweep}" in said
    assert place.backend.runs(sweep) == []


def test_our_agent_runs_programs_that_call_wandb(place):
    place.write("train.py", TRAIN)
    sweep = make(place, run_cap=1)
    place.call(
        sys.executable, "-m", "tune_bridge", "agent", sweep, "--server", place.url, WANDB_API_KEY=""
    )
    (run,) = place.backend.runs(sweep)
    assert (run.state, run.message, run.rows) == ("finished", "", 3)
    assert run.summary["loss"] == pytest.approx((run.config["x"] - 0.5) ** 2 + 2)
    told = [event for event in place.backend.events(sweep) if event["event"] == "tell"]
    assert len(told) == 3


def test_a_preempted_program_is_run_again(place):
    place.write(
        "preempted.py",
        """\
        import pathlib, sys, wandb
        run = wandb.init()
        run.log({"loss": 1})
        if not pathlib.Path("once").exists():
            pathlib.Path("once").touch()
            run.mark_preempting()
            sys.exit(1)
        """,
    )
    sweep = make(place, program="preempted.py", run_cap=1)
    place.call("wandb", "agent", sweep, **FAST)
    (run,) = place.backend.runs(sweep)
    assert (run.state, run.meta["attempt"], run.rows) == ("finished", 2, 2)
