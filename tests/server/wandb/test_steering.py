"""Sweeps that unmodified clients steer: the local controller, sweep-scheduler, enqueued runs."""

from __future__ import annotations

import json
import sys

import pytest

from tests.server.wandb.test_agents import FAST, make, until

pytestmark = pytest.mark.slow

TRAIN = """\
import time, wandb
run = wandb.init()
for step in range(100000 if run.config.n == 2 else 2):
    run.log({"loss": float(run.config.n + step)})
    time.sleep(0.1 if step > 2 else 0)
"""


def test_a_local_controller_steers_a_sweep(place):
    pytest.importorskip("sweeps")
    place.write("steered.py", TRAIN)
    steering = place.write(
        "steering.py",
        """\
        import pathlib, time, wandb
        tuner = wandb.controller(project="steered")
        tuner.configure_search("grid")
        tuner.configure_program("steered.py")
        tuner.configure_parameter("n", values=[1, 2])
        tuner.configure_metric("loss", "minimize")
        tuner.configure_controller(type="local")
        pathlib.Path("sweep-id").write_text(tuner.create())
        while not tuner.done():
            tuner.step()
            tuner.print_status()
            endless = [
                run for run in tuner._sweep_runs
                if run.state == "running" and run.config["n"]["value"] == 2 and run.history
            ]
            if endless:
                tuner.stop_runs(endless)
            time.sleep(0.5)
        """,
    )
    controller = place.start(sys.executable, steering)
    sweep = until(
        lambda: (place.folder / "sweep-id").exists() and (place.folder / "sweep-id").read_text()
    )
    said = place.call("wandb", "agent", f"local/steered/{sweep}", **FAST)
    told, _ = controller.communicate(timeout=100)
    assert controller.returncode == 0, told + said
    runs = place.backend.runs(sweep)
    assert [(run.config["n"], run.state, run.stopped_early) for run in runs] == [
        (1, "finished", False), (2, "finished", True),
    ]  # fmt: skip
    assert place.backend.sweep(sweep).state == "finished"
    commands = [e["verb"] for e in place.backend.events(sweep) if e["event"] == "command"]
    assert sorted(commands) == ["enqueue", "enqueue", "stop", "stop_run"]
    shown = place.python(
        f"answer([r.state for r in wandb.Api().sweep('local/steered/{sweep}').runs])"
    )
    assert shown == ["finished", "killed"]


def test_the_command_controller_and_a_custom_search(place):
    pytest.importorskip("sweeps")
    place.write("once.py", "import wandb\nrun = wandb.init()\nrun.log({'loss': run.config.x})\n")
    file = place.write(
        "local.yaml",
        """\
        program: once.py
        project: steered
        method: grid
        metric: {name: loss}
        controller: {type: local}
        parameters: {x: {values: [3]}}
        """,
    )
    said = place.call("wandb", "sweep", file, WANDB_SILENT="false")
    sweep = said.split("wandb agent ")[1].split()[0].rpartition("/")[2]
    agent = place.start("wandb", "agent", sweep, env=FAST)
    place.call("wandb", "controller", f"local/steered/{sweep}")
    agent.communicate(timeout=100)
    assert [run.summary["loss"] for run in place.backend.runs(sweep)] == [3]
    assert place.backend.sweep(sweep).state == "finished"


def test_a_sweep_scheduler_steers_a_sweep(place):
    pytest.importorskip("sweeps")
    place.write("once.py", "import wandb\nrun = wandb.init()\nrun.log({'loss': run.config.x})\n")
    sweep = make(
        place,
        program="once.py",
        method="grid",
        parameters={"x": {"values": [1.0, 2.5]}},
        scheduler={"engine": "wandb"},
    )
    scheduler = place.start(
        "wandb", "sweep-scheduler", "--batch-size", "2", "--poll-interval", "1",
        f"local/agents/{sweep}", env={"WANDB_SILENT": "false"},
    )  # fmt: skip
    agent = place.start("wandb", "agent", sweep, env=FAST)
    said, _ = scheduler.communicate(timeout=200)
    assert scheduler.returncode == 0, said
    agent.communicate(timeout=100)
    runs = place.backend.runs(sweep)
    assert [(run.config, run.state, run.summary["loss"]) for run in runs] == [
        ({"x": 1.0}, "finished", 1), ({"x": 2.5}, "finished", 2.5),
    ]  # fmt: skip
    assert isinstance(runs[0].config["x"], float), "as the sweep types it"
    assert place.backend.sweep(sweep).state == "finished"
    shown = place.python("answer([r.sweep_name for r in wandb.Api().runs('local/agents')])")
    assert set(shown) <= {s.id for s in place.backend.sweeps(limit=1000)}, "its log is no run"


def test_our_searcher_inside_of_wandbs_scheduler(place):
    pytest.importorskip("ray.tune")
    pytest.importorskip("hyperopt")
    place.write("asked.py", "import wandb\nrun = wandb.init()\nrun.log({'loss': run.config.x})\n")
    sweep = make(
        place,
        program="asked.py",
        method="bayes",
        run_cap=3,
        metric={"name": "loss", "goal": "minimize"},
        parameters={"x": {"min": 0.0, "max": 1.0}},
        scheduler={"engine": "wandb"},
        controller={"type": "cloud", "tune": {"version": 1, "search_alg": {"HyperOptSearch": {}}}},
    )
    scheduler = place.start(
        sys.executable, "-m", "tune_bridge", "controller", f"local/agents/{sweep}", "--poll", "1",
        "--max-concurrent", "1",
    )  # fmt: skip
    agent = place.start("wandb", "agent", sweep, env=FAST)
    said, _ = scheduler.communicate(timeout=300)
    assert scheduler.returncode == 0, said
    assert "by the scheduler door" in said
    agent.communicate(timeout=100)
    runs = place.backend.runs(sweep)
    assert [run.state for run in runs] == ["finished"] * 3
    assert all(run.summary["loss"] == run.config["x"] for run in runs)
    assert len({run.config["x"] for run in runs}) == 3
    assert place.backend.sweep(sweep).state == "finished"


def test_enqueued_runs_come_next(place):
    sweep = make(place, run_cap=4, parameters={"x": {"min": 0.0, "max": 1.0}})
    found = place.python(
        f"""
        sweep = wandb.Api().sweep("local/agents/{sweep}")
        said = [sweep.enqueue_run({{"x": {{"value": 1}}}}, "mine"), sweep.enqueue_run({{"x": 0.5}})]
        try:
            sweep.enqueue_run({{"x": 7}})
        except Exception as error:
            said.append(str(error))
        run = wandb.Api().run(f"local/agents/{{said[0]}}")
        answer([said, run.state, run.name, run.config])
        """
    )
    (first, second, refused), state, name, config = found
    assert (state, name, config) == ("pending", "mine", {"x": 1})
    assert "out of its bounds" in refused
    claims = [place.controller.sweep(sweep).claim("a", "h", f"r{n}") for n in range(2)]
    assert [(claim.run, claim.config) for claim in claims] == [
        (first, {"x": 1.0}), (second, {"x": 0.5}),
    ]  # fmt: skip
    assert json.dumps(claims[0].config) == '{"x": 1.0}'


def test_a_sweep_that_we_search_has_no_other_controller(place):
    pytest.importorskip("sweeps")
    sweep = make(place)
    found = place.python(
        f"""
        tuner = wandb.controller("{sweep}")
        try:
            tuner.step()
        except Exception as error:
            answer(str(error))
        """
    )
    assert "local controller" in found
    assert place.backend.runs(sweep) == []
