"""Functions as runs: what they are given, what they report, how they end."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import tune_bridge
from tests.agents.world import World, in_thread, until
from tune_bridge.agents import Agent
from tune_bridge.errors import InputError
from tune_bridge.wire import Command, Settings

pytestmark = pytest.mark.slow


def test_a_function_without_arguments_calls_init(world: World) -> None:
    seen: list[Any] = []

    def main() -> str:
        run = tune_bridge.init(config={"epochs": 2, "x": "not this"})
        assert tune_bridge.run is run
        seen.append((run.id, dict(run.config), tune_bridge.config.x, run.sweep_id))
        for epoch in range(run.config.epochs):
            tune_bridge.log({"loss": run.config.x + epoch, "net": {"depth": epoch}})
        tune_bridge.summary["note"] = "good"
        return "left alone, as W&B does"

    sweep = world.sweep(run_cap=2)
    done = world.function(sweep, main)
    assert done.counts == {"finished": 2}
    assert done.reason == "all 2 runs have been given out"
    runs = world.runs(sweep)
    assert [run.id for run in runs] == [entry[0] for entry in seen]
    for run, (_, config, x, sweep_id) in zip(runs, seen, strict=True):
        assert run.config == config == {"x": x, "epochs": 2}
        assert sweep_id == sweep
        rows = world.rows(run.id)
        assert [row.values for row in rows] == [
            {"loss": x, "net/depth": 0},
            {"loss": x + 1, "net/depth": 1},
        ]
        assert run.summary["note"] == "good"
    assert tune_bridge.run is None
    with pytest.raises(InputError, match="no run yet"):
        tune_bridge.log({"loss": 1})


@pytest.mark.parametrize(
    ("result", "row"),
    [
        (lambda c: c.x, lambda x: {"loss": x}),
        (lambda c: {"loss": c["x"], "more": "text"}, lambda x: {"loss": x, "more": "text"}),
        (lambda c: __import__("numpy").float32(0.5), lambda x: {"loss": 0.5}),
    ],
)
def test_a_function_of_the_config_returns_its_result(world: World, result: Any, row: Any) -> None:
    sweep = world.sweep()
    assert world.function(sweep, result).counts == {"finished": 1}
    (run,) = world.runs(sweep)
    assert [each.values for each in world.rows(run.id)] == [row(run.config["x"])]


def test_what_a_run_says_after_it_has_finished_counts_on(world: World) -> None:
    def main(config: Any) -> float:
        with tune_bridge.init() as run:
            run.log({"loss": 2.0})
        return 1.0

    sweep = world.sweep()
    world.function(sweep, main)
    (run,) = world.runs(sweep)
    assert [(row.step, row.values) for row in world.rows(run.id)] == [
        (0, {"loss": 2.0}),
        (1, {"loss": 1.0}),
    ]


def test_a_failure_is_told_with_its_place(world: World) -> None:
    def main() -> None:
        run = tune_bridge.init()
        run.log({"batch": 1})
        run.summary["note"] = "kept"
        raise ValueError("broken")

    sweep = world.sweep(run_cap=2)
    assert world.function(sweep, main).counts == {"failed": 2}
    run = world.runs(sweep)[0]
    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1)
                if 'raise ValueError("broken")' in text)  # fmt: skip
    first, _, rest = run.message.partition("\n")
    assert first == f"ValueError: broken ({__file__}:{line})"
    assert "Traceback" in rest
    assert [row.values for row in world.rows(run.id)] == [{"batch": 1}]
    assert run.summary["note"] == "kept"


def test_a_value_that_cannot_be_stored_fails_the_run_where_it_is_logged(world: World) -> None:
    def main() -> None:
        tune_bridge.init().log({"loss": object()})

    sweep = world.sweep()
    world.function(sweep, main)
    message = world.runs(sweep)[0].message.splitlines()[0]
    assert "the value of 'loss' cannot be stored" in message
    assert re.search(rf"\({re.escape(__file__)}:\d+\)$", message)


@pytest.mark.parametrize(("code", "state"), [(0, "finished"), (None, "finished"), (3, "failed")])
def test_sys_exit_ends_the_run_and_not_the_agent(world: World, code: Any, state: str) -> None:
    def main() -> None:
        tune_bridge.init().log({"loss": 1.0})
        sys.exit(code)

    sweep = world.sweep(run_cap=2)
    assert world.function(sweep, main).counts == {state: 2}
    assert world.states(sweep) == {state: 2}


def test_a_run_without_the_metric_says_so(world: World) -> None:
    sweep = world.sweep()
    world.function(sweep, lambda: tune_bridge.init().log({"acc": 1}))
    assert "never reported the metric 'loss'; it reported acc" in world.runs(sweep)[0].message


def test_a_stop_passes_what_catches_exceptions(world: World) -> None:
    started = threading.Event()
    cleaned: list[bool] = []

    def main() -> None:
        run = tune_bridge.init()
        try:
            while True:
                with contextlib.suppress(Exception):
                    run.log({"loss": 1.0})
                    started.set()
        finally:
            cleaned.append(run.stopping)

    sweep = world.sweep()
    thread, found = in_thread(lambda: world.function(sweep, main))
    until(started.is_set)
    (run,) = world.runs(sweep)
    world.server.command(sweep, Command("stop_run", {"run": run.id}))
    thread.join(60)
    assert found[0].counts == {"stopped": 1}
    assert cleaned == [True]
    (run,) = world.runs(sweep)
    assert (run.state, run.stopped_early) == ("finished", True)


def test_a_function_between_reports_hears_of_the_end_by_heartbeat(world: World) -> None:
    started = threading.Event()

    def main() -> None:
        run = tune_bridge.init()
        run.log({"loss": 1.0})
        started.set()
        execution = agent._running[run.id]
        until(lambda: execution.verdict.kind == "kill")  # what the heartbeat brings
        run.log({"loss": 0.0})

    sweep = world.sweep(settings=Settings(lease=2.0, heartbeat=0.1))
    agent = Agent(world.server, sweep, function=main, metric="loss")
    thread, found = in_thread(agent.run)
    until(started.is_set)
    world.server.command(sweep, Command("cancel"))
    thread.join(60)
    assert found[0].counts == {"killed": 1}
    assert world.states(sweep) == {"killed": 1}


def test_four_at_once_have_their_own_runs(world: World) -> None:
    together = threading.Barrier(4)

    def main() -> None:
        run = tune_bridge.init()
        together.wait(60)
        for step in range(3):
            assert tune_bridge.run is run
            assert tune_bridge.init() is run
            tune_bridge.log({"loss": tune_bridge.config.x, "id": run.id, "step": step})
            together.wait(60)

    sweep = world.sweep(run_cap=8)
    assert world.function(sweep, main, jobs=4).counts == {"finished": 8}
    for run in world.runs(sweep):
        rows = [row.values for row in world.rows(run.id)]
        assert rows == [{"loss": run.config["x"], "id": run.id, "step": step} for step in range(3)]


def test_threads_of_one_of_many_functions_are_refused(world: World) -> None:
    together = threading.Barrier(2)
    refused: list[str] = []

    def main() -> None:
        run = tune_bridge.init()
        together.wait(60)

        def helper() -> None:
            try:
                tune_bridge.log({"loss": 0.0})
            except InputError as error:
                refused.append(str(error))

        thread = threading.Thread(target=helper)
        thread.start()
        thread.join()
        together.wait(60)
        run.log({"loss": 1.0})

    sweep = world.sweep(run_cap=2)
    world.function(sweep, main, jobs=2)
    assert len(refused) == 2
    assert "several runs share this process" in refused[0]
    for run in world.runs(sweep):
        assert [row.values for row in world.rows(run.id)] == [{"loss": 1.0}]


def test_a_thread_of_the_only_function_has_its_run(world: World) -> None:
    def main() -> None:
        tune_bridge.init()
        thread = threading.Thread(target=lambda: tune_bridge.log({"loss": 3.0}))
        thread.start()
        thread.join()

    sweep = world.sweep()
    assert world.function(sweep, main).counts == {"finished": 1}
    (run,) = world.runs(sweep)
    assert [row.values for row in world.rows(run.id)] == [{"loss": 3.0}]


def test_count(world: World) -> None:
    sweep = world.sweep(run_cap=10)
    done = world.function(sweep, lambda c: c.x, count=3, jobs=2)
    assert (done.counts, done.reason) == ({"finished": 3}, "it has had its number of runs")
    assert world.states(sweep) == {"finished": 3}


def test_a_function_that_never_reports_can_be_left(world: World) -> None:
    started, let_go = threading.Event(), threading.Event()

    def main() -> None:
        started.set()
        let_go.wait(60)

    sweep = world.sweep()
    agent = Agent(world.server, sweep, function=main, metric="loss")
    thread, _ = in_thread(agent.run)
    until(started.is_set)
    for how in ("finish", "stop"):
        agent.leave(how)
        thread.join(0.3)
        assert thread.is_alive()
    agent.leave("kill")
    thread.join(60)
    assert agent.left_by_hand
    assert world.states(sweep) == {"killed": 1}
    let_go.set()


def test_an_agent_that_waits_leaves_at_once_and_takes_nothing_along(world: World) -> None:
    said: list[str] = []
    sweep = world.sweep(run_cap=5)
    world.server.command(sweep, Command("pause"))
    agent = Agent(world.server, sweep, function=lambda c: c.x, metric="loss", say=said.append)
    thread, found = in_thread(agent.run)
    until(lambda: agent._server._claiming)
    agent.leave("finish")
    thread.join(10)
    assert not thread.is_alive()
    assert found[0].counts == {}
    world.server.command(sweep, Command("resume"))
    assert world.runs(sweep) == []
    assert world.function(sweep, lambda c: c.x).counts == {"finished": 5}


SEED = """
import tune_bridge as wandb

wandb.login()

# 1: Define objective/training function
def objective(config):
    score = config.x**3 + config.y
    return score

def main():
    wandb.init(project="my-first-sweep")
    score = objective(wandb.config)
    wandb.log({"score": score})

# 2: Define the search space
sweep_configuration = {
    "method": "random",
    "metric": {"goal": "minimize", "name": "score"},
    "parameters": {
        "x": {"max": 0.1, "min": 0.01},
        "y": {"values": [1, 3, 7]},
    },
}

# 3: Start the sweep
sweep_id = wandb.sweep(sweep=sweep_configuration, project="my-first-sweep")

wandb.agent(sweep_id, function=main, count=10)
"""


def test_the_quickstart_of_wandb_word_for_word(world: World, tmp_path: Path) -> None:
    (tmp_path / "quickstart.py").write_text(SEED)
    env = {"TUNE_BRIDGE_SERVER": world.url, "TUNE_BRIDGE_KEY": "a key of tests"}
    done = subprocess.run(
        [sys.executable, "quickstart.py"],
        cwd=tmp_path,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    sweep = re.search(r"Create sweep with ID: (\w+)", done.stderr)[1]
    runs = world.runs(sweep)
    assert len(runs) == 10
    for run in runs:
        assert run.state == "finished"
        assert run.summary["score"] == run.config["x"] ** 3 + run.config["y"]
    assert f"Sweep URL: {world.url}/sweeps/{sweep}" in done.stderr
    assert world.server.sweep(sweep)["project"] == "my-first-sweep"
