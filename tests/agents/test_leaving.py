"""How agents end, and what becomes of their runs: signals, kills, servers that are away."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

import tune_bridge
from tests.agents.world import Sign, World, ended, in_thread, until
from tune_bridge.server_process import find_server
from tune_bridge.wire import Command, Settings

pytestmark = pytest.mark.slow

WAITS = """
    import os, signal, subprocess, sys, time
    import tune_bridge

    run = tune_bridge.init()
    STUBBORN
    child = subprocess.Popen(["sleep", "600"])
    with open(SIGN, "a") as file:
        file.write(f"{os.getpid()}\\n{child.pid}\\n")
    run.log({"loss": 1.0})
    while not os.path.exists(GATE):
        time.sleep(0.01)
    child.kill()
    run.log({"loss": 0.5})
"""
"""Says that it is there, and goes on when the gate opens."""


class Waiting:
    """A sweep whose program waits for a gate."""

    def __init__(self, world: World, folder: Path, stubborn: bool = False, **more: Any) -> None:
        self.world, self.folder = world, folder
        self.sign, self.gate = Sign(folder / "pids"), folder / "gate"
        ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if stubborn else ""
        source = WAITS.replace("STUBBORN", ignore)
        source = source.replace("SIGN", repr(str(self.sign.path)))
        world.program(source.replace("GATE", repr(str(self.gate))), folder=folder)
        self.sweep = world.sweep(program="train.py", **{"run_cap": 2, **more})

    def agent(self, *arguments: str) -> Any:
        return self.world.agent(self.sweep, *arguments, folder=self.folder)

    def none_left(self) -> None:
        until(lambda: self.sign.alive() == [])


def test_ctrl_c_once_finishes_the_current_run(world: World, tmp_path: Path) -> None:
    waiting = Waiting(world, tmp_path)
    agent = waiting.agent()
    waiting.sign.wait(2)
    agent.send_signal(signal.SIGINT)
    line = ""
    while "leaving after the current run" not in line:
        line = agent.stderr.readline()
        assert line
    assert len(waiting.sign.alive()) == 2
    waiting.gate.touch()
    code, out, _ = ended(agent)
    assert (code, out.partition(":")[0]) == (130, "1 finished")
    assert world.states(waiting.sweep) == {"finished": 1}
    waiting.none_left()


@pytest.mark.parametrize(
    ("stubborn", "signals"),
    [
        (False, [signal.SIGINT, signal.SIGINT]),
        (True, [signal.SIGINT, signal.SIGINT, signal.SIGINT]),
    ],
    ids=["twice", "three times"],
)
def test_more_of_it_ends_the_current_run(
    world: World, tmp_path: Path, stubborn: bool, signals: list[signal.Signals]
) -> None:
    waiting = Waiting(world, tmp_path, stubborn)
    agent = waiting.agent("--grace", "600" if stubborn else "30")
    waiting.sign.wait(2)
    until(lambda: world.runs(waiting.sweep)[0].rows == 1)
    for number in signals:
        agent.send_signal(number)
        line = ""
        while "the current run" not in line:  # it has understood this one
            line = agent.stderr.readline()
            assert line
    code, out, _ = ended(agent)
    assert (code, out.partition(":")[0]) == (130, "1 killed")
    assert waiting.sign.alive() == []
    (run,) = world.runs(waiting.sweep)
    assert (run.state, run.rows) == ("killed", 1)


CATCHES = """
    import os, signal, sys, time
    import tune_bridge

    run = tune_bridge.init()
    folder = run.checkpoint()
    begin = int((folder / "step").read_text()) if folder else 0

    def leave(number, frame):
        os.makedirs("saved", exist_ok=True)
        with open("saved/step", "w") as file:
            file.write(str(begin + 7))
        run.save_checkpoint("saved")
        sys.exit(1)

    signal.signal(signal.SIGTERM, leave)
    run.log({"loss": 1.0, "begin": begin})
    with open(SIGN, "a") as file:
        file.write(f"{os.getpid()}\\n")
    while not os.path.exists(GATE):
        time.sleep(0.01)
    run.log({"loss": 0.5, "begin": begin})
"""
"""Saves when it is told to end, as programs on clusters do."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_preempted_run_goes_on_elsewhere(
    world: World, tmp_path: Path, number: signal.Signals
) -> None:
    """However often that happens: nothing is wrong with the run."""
    sign, gate = Sign(tmp_path / "pids"), tmp_path / "gate"
    source = CATCHES.replace("SIGN", repr(str(sign.path))).replace("GATE", repr(str(gate)))
    world.program(source, folder=tmp_path)
    sweep = world.sweep(program="train.py", run_cap=1, settings=Settings(max_lost=0))
    for times in (1, 2):
        agent = world.agent(sweep, "--grace", "30", folder=tmp_path)
        sign.wait(times)
        until(lambda times=times: world.runs(sweep)[0].rows == times)
        agent.send_signal(number)
        code, out, err = ended(agent)
        assert (code, out.partition(":")[0]) == (130, "1 preempted"), err
        assert "another agent goes on with it" in err
        assert world.states(sweep) == {"pending": 1}
    gate.touch()
    assert ended(world.agent(sweep, folder=tmp_path))[0] == 0
    (run,) = world.runs(sweep)
    assert (run.state, run.meta["attempt"]) == ("finished", 3)
    assert [row.values["begin"] for row in world.rows(run.id)] == [0, 7, 14, 14]


def test_ctrl_c_ends_an_agent_that_waits_for_a_run(world: World, tmp_path: Path) -> None:
    waiting = Waiting(world, tmp_path)
    world.server.command(waiting.sweep, Command("pause"))
    agent = waiting.agent()
    until(lambda: _listens(agent.pid))
    agent.send_signal(signal.SIGINT)
    code, out, _ = ended(agent, 15)
    assert (code, out.partition(":")[0]) == (130, "no runs")


def _listens(pid: int) -> bool:
    """Whether an agent has a connection, and handles signals by now."""
    process = psutil.Process(pid)
    return bool(process.net_connections("tcp")) and len(process.threads()) >= 3


def test_a_killed_agent_leaves_nothing_and_its_run_goes_on_elsewhere(
    world: World, tmp_path: Path
) -> None:
    waiting = Waiting(world, tmp_path, run_cap=1)
    waiting.sweep = world.sweep(
        program="train.py", settings=Settings(lease=1.0, heartbeat=0.2), run_cap=1
    )
    first = waiting.agent("--name", "first", "--grace", "1")
    waiting.sign.wait(2)
    first.kill()
    waiting.none_left()
    second = waiting.agent("--name", "second")
    waiting.sign.wait(4)
    waiting.gate.touch()
    assert ended(second)[0] == 0
    (run,) = world.runs(waiting.sweep)
    assert (run.state, run.meta["agent"], run.meta["attempt"]) == ("finished", "second", 2)
    assert [row.step for row in world.rows(run.id)] == list(range(run.rows))
    waiting.none_left()


def test_nothing_is_lost_or_doubled_while_the_server_is_away(world: World, tmp_path: Path) -> None:
    """The server is killed; the program goes on; the server comes back at the same address."""
    gate, here = tmp_path / "gate", tmp_path / "here"
    world.program(
        f"""
        import os, time
        import tune_bridge

        run = tune_bridge.init()
        for step in range(100):
            run.log({{"loss": 1.0 / (step + 1), "step": step}})
            if step == 20:
                open({str(here)!r}, "w").close()
                while not os.path.exists({str(gate)!r}):
                    time.sleep(0.01)
            if step == 60:
                open({str(here)!r} + "2", "w").close()
        """,
        folder=tmp_path,
    )
    sweep = world.sweep(program="train.py", run_cap=2)
    agent = world.agent(sweep, "--count", "1", folder=tmp_path)
    until(here.exists)
    world.kill()
    gate.touch()
    until(Path(f"{here}2").exists)  # it has gone on without the server
    world.start()
    code, out, err = ended(agent)
    assert (code, out.partition(":")[0]) == (0, "1 finished"), err
    (run,) = world.runs(sweep)
    assert [(row.step, row.values["step"]) for row in world.rows(run.id)] == [
        (step, step) for step in range(100)
    ]
    told = [event for event in world.events(sweep) if event["event"] == "tell"]
    assert [event["result"]["step"] for event in told] == list(range(100))


def test_an_agent_waits_for_a_server_that_is_away_between_runs(
    world: World, tmp_path: Path
) -> None:
    sweep = world.sweep(run_cap=6)
    seen: list[str] = []

    def main(config: Any) -> float:
        if len(seen) == 2:
            world.kill()
            threading.Thread(target=world.start).start()
        seen.append(config.x)
        return float(config.x)

    thread, found = in_thread(lambda: world.function(sweep, main))
    thread.join(60)
    assert found[0].counts == {"finished": 6}
    assert len(set(seen)) == 6
    assert world.states(sweep) == {"finished": 6}


def test_two_agents_never_get_one_run(world: World, tmp_path: Path) -> None:
    taken: list[float] = []
    sweep = world.sweep(run_cap=60)

    def main(config: Any) -> float:
        taken.append(config.x)
        return float(config.x)

    agents = [in_thread(lambda: world.function(sweep, main, jobs=3)) for _ in range(4)]
    for thread, _ in agents:
        thread.join(60)
    assert sum(found[0].counts["finished"] for _, found in agents) == 60
    assert len(taken) == len(set(taken)) == 60
    assert world.states(sweep) == {"finished": 60}


def test_what_is_wrong_is_one_line(world: World, tmp_path: Path) -> None:
    good = world.sweep(run_cap=1)
    gone = world.sweep(program="gone.py")
    for sweep, arguments, words in (
        ("nosuch00", (), "nosuch00"),
        (good, ("--key", "wrong"), "TUNE_BRIDGE_KEY"),
        (good, ("--server", "http://127.0.0.1:1"), "does not answer"),
        (good, ("--server", "localhost"), "expected http://host:port"),
        (good, (), "function="),
        (gone, (), "gone.py"),
    ):
        code, out, err = ended(world.agent(sweep, *arguments, folder=tmp_path))
        assert (code, out) == (1, ""), (sweep, arguments)
        assert err.startswith("error: "), err
        assert words in err
        assert len(err.splitlines()) == 1
    for arguments in (("--jobs", "0"), ("--count", "none"), ("--elephant",)):
        code, _, err = ended(world.agent(good, *arguments))
        assert (code, "Traceback" in err) == (2, False)


def test_a_sweep_that_is_over_has_nothing_to_do(world: World, tmp_path: Path) -> None:
    world.program("import tune_bridge\n", folder=tmp_path)
    sweep = world.sweep(program="train.py")
    world.server.command(sweep, Command("cancel"))
    code, out, _ = ended(world.agent(sweep, folder=tmp_path))
    assert (code, out) == (0, "no runs: canceled by command\n")


def test_exit_code_when_every_run_failed(world: World, tmp_path: Path) -> None:
    world.program("raise SystemExit(9)\n", folder=tmp_path)
    sweep = world.sweep(program="train.py", run_cap=2)
    code, out, err = ended(world.agent(sweep, folder=tmp_path))
    assert code == 1
    assert out.startswith("2 failed")
    assert "exit code 9" in err


def test_a_server_of_this_machine_is_found_again_elsewhere(
    tmp_path: Path,
) -> None:
    """Started by the agent, killed, and started by it again, at another port."""
    place = str(tmp_path / "sweeps.db")
    config = {"method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}, "run_cap": 4,
              "metric": {"name": "loss", "goal": "minimize"}}  # fmt: skip
    sweep_id = tune_bridge.sweep(config, backend=place)
    urls: list[str] = []

    def main(config: Any) -> float:
        server = find_server(place)
        urls.append(server.url)
        if len(urls) == 2:
            os.kill(server.pid, signal.SIGKILL)
            os.waitpid(server.pid, 0)
        return float(config.x)

    try:
        done = tune_bridge.agent(sweep_id, main, backend=place, quiet=True)
    finally:
        if found := find_server(place):
            os.kill(found.pid, signal.SIGTERM)
            os.waitpid(found.pid, 0)
    assert done.counts == {"finished": 4}
    assert len(set(urls)) == 2
