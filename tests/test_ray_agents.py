"""A cluster of two nodes (on one machine): agents as actors, and sweeps on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray")
pytest.importorskip("fastapi")

from tests.agents.world import KEY, World, in_thread, until
from tests.ray_sweeps import SAVES, Sweeps, experiment
from tune_bridge.agents import Server
from tune_bridge.errors import BackendError, InputError
from tune_bridge.experiment import Algorithm
from tune_bridge.ray_agents import _check_reach, agents_on_ray
from tune_bridge.wire import Settings

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NODE = """
import os, pathlib, time, tune_bridge
run = tune_bridge.init()
assert pathlib.Path("beside.txt").read_text() == "shipped"
assert pathlib.Path.cwd() != pathlib.Path(HERE)
together = pathlib.Path(HERE, "raylets")
together.mkdir(exist_ok=True)
(together / os.environ["RAY_RAYLET_PID"]).touch()
end = time.monotonic() + 60
while len(list(together.iterdir())) < 2 and time.monotonic() < end:
    time.sleep(0.01)
run.log({"loss": run.config.x, "raylet": int(os.environ["RAY_RAYLET_PID"])})
"""
"""Says which node's processes started it: each node has a raylet of its own.

It waits until both nodes have a run, so that none takes all.
"""


class TwoNodes:
    """A cluster; ``nodes`` is the id of each node by the process of its raylet."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster: Any = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        self.cluster.add_node(num_cpus=1)
        self.cluster.wait_for_nodes()
        self.address: str = self.cluster.address
        self.nodes: dict[int, str] = {
            node.all_processes["raylet"][0].process.pid: node.node_id
            for node in self.cluster.list_all_nodes()
        }


@pytest.fixture(scope="module")
def two() -> Iterator[TwoNodes]:
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = TwoNodes()
    yield made
    made.cluster.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    made.close()


def shipped(folder: Path) -> str:
    (folder / "beside.txt").write_text("shipped")
    return NODE.replace("HERE", repr(str(folder)))


def test_agents_on_both_nodes(two: TwoNodes, world: World) -> None:
    """Each agent is on its node, with the folder that was shipped; the server is elsewhere."""
    folder = world.folder / "both"
    folder.mkdir()
    world.program(shipped(folder), folder=folder)
    sweep = world.sweep(program="train.py", run_cap=4)
    said: list[str] = []
    done, by_hand = agents_on_ray(
        Server(world.url, KEY), sweep, address=two.address, folder=folder, say=said.append
    )
    runs = world.runs(sweep)
    assert (done.counts, by_hand) == ({"finished": 4}, False), said
    assert [run.state for run in runs] == ["finished"] * 4
    assert {two.nodes[int(run.summary["raylet"])] for run in runs} == set(two.nodes.values())
    for run in runs:
        node = two.nodes[int(run.summary["raylet"])]
        assert run.meta["agent"].startswith(f"ray-{node[:8]}-")
    assert any("finished after" in line for line in said)
    assert not any(KEY in line for line in said)


def test_a_sweep_on_both_nodes(two: TwoNodes, tmp_path: Path) -> None:
    """`tune-bridge run --address`: the trials of one sweep, on every node."""
    sweeps = Sweeps(tmp_path)
    made = experiment("OptunaSearch", 4)
    result = sweeps.run(made, shipped(tmp_path), address=two.address, cpus_per_trial=1)
    _, runs = sweeps.read(result)
    assert result.counts == {"finished": 4}, result.errors
    assert {two.nodes[int(run.summary["raylet"])] for run in runs} == set(two.nodes.values())
    assert result.results_dir is None


def test_checkpoints_go_from_node_to_node(two: TwoNodes, tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path)
    scheduler = Algorithm.of("HyperBandScheduler", max_t=3, reduction_factor=3)
    source = SAVES.replace("STEPS", "3")
    made = experiment(None, 5, scheduler=scheduler)
    (tmp_path / "storage").mkdir()
    result = sweeps.run(
        made, source, address=two.address, cpus_per_trial=1, storage=tmp_path / "storage"
    )
    _, runs = sweeps.read(result)
    assert result.counts == {"finished": 5}, result.errors
    assert sorted(run.rows for run in runs) == [1, 1, 3, 3, 3]
    for run in runs:
        assert [row.values["mine"] for row in sweeps.rows(run)] == list(range(1, run.rows + 1))
    assert list((tmp_path / "storage").iterdir())


def alive(pids: list[int]) -> list[int]:
    return [
        pid
        for pid in pids
        if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    ]


class Shell:
    """``tune-bridge agent --on-ray`` in a process of its own, with programs that do not end."""

    def __init__(
        self, world: World, two: TwoNodes, name: str, *arguments: str, stubborn: bool = False
    ) -> None:
        self.pids_in = world.folder / name / "pids"
        self.pids_in.mkdir(parents=True)
        deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if stubborn else ""
        source = f"""
        import os, pathlib, signal, time, tune_bridge
        run = tune_bridge.init()
        {deaf}
        folder = pathlib.Path({str(self.pids_in)!r})
        (folder / str(os.getpid())).touch()
        run.log({{"loss": run.config.x}})
        while not (folder / "end").exists():
            time.sleep(0.01)
        """
        world.program(source, folder=world.folder / name)
        self.sweep = world.sweep(program="train.py", run_cap=50)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tune_bridge", "agent", self.sweep, "--on-ray"),
                *("--address", two.address, "--server", world.url, "--grace", "0.5", *arguments),
            ],
            cwd=world.folder / name,
            env={**os.environ, "TUNE_BRIDGE_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Shell:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def pids(self) -> list[int]:
        return [int(path.name) for path in self.pids_in.iterdir() if path.name.isdigit()]

    def press(self, words: str) -> None:
        """Ctrl-C, and what is said to it."""
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if words in line:
                return
        raise AssertionError(words)


def _two_programs(shell: Shell) -> Callable[[], bool]:
    return lambda: shell.process.poll() is not None or len(shell.pids()) == 2


def test_ctrl_c_once_finishes_what_runs(two: TwoNodes, world: World) -> None:
    with Shell(world, two, "once") as shell:
        until(_two_programs(shell), 120)
        shell.press("leaving after the current run")
        (shell.pids_in / "end").touch()
        out, err = shell.process.communicate(timeout=120)
    assert (shell.process.returncode, out.split(":")[0]) == (130, "2 finished"), err
    assert len(shell.pids()) == 2
    assert "Traceback" not in err


def test_ctrl_c_twice_stops_what_runs(two: TwoNodes, world: World) -> None:
    with Shell(world, two, "twice", "--num", "2") as shell:
        until(_two_programs(shell), 120)
        shell.press("leaving after the current run")
        shell.press("stopping the current run")
        out, err = shell.process.communicate(timeout=120)
    assert (shell.process.returncode, out.split(":")[0]) == (130, "2 killed"), err
    until(lambda: not alive(shell.pids()))


def test_ctrl_c_three_times_kills_what_runs(two: TwoNodes, world: World) -> None:
    """Programs that do not hear SIGTERM, with all the time in the world."""
    with Shell(world, two, "thrice", "--num", "2", "--grace", "600", stubborn=True) as shell:
        until(_two_programs(shell), 120)
        shell.press("leaving after the current run")
        shell.press("stopping the current run")
        shell.press("killing the current run")
        _, err = shell.process.communicate(timeout=120)
    assert shell.process.returncode == 130, err
    assert len(shell.pids()) == 2
    until(lambda: not alive(shell.pids()), 120)


def test_agents_that_wait_for_room_leave_too(two: TwoNodes, world: World) -> None:
    """Three agents in a cluster with room for two: the third one hears nothing."""
    with Shell(world, two, "room", "--num", "3") as shell:
        until(_two_programs(shell), 120)
        shell.press("leaving after the current run")
        shell.press("stopping the current run")
        out, err = shell.process.communicate(timeout=120)
    assert (shell.process.returncode, out.split(":")[0]) == (130, "2 killed"), err


def test_an_agent_that_is_done_makes_room_for_another(two: TwoNodes, world: World) -> None:
    world.program("import tune_bridge\ntune_bridge.init().log({'loss': 1.0})\n")
    sweep = world.sweep(program="train.py", run_cap=3)
    said: list[str] = []
    done, _ = agents_on_ray(
        Server(world.url, KEY), sweep, address=two.address, folder=world.folder, number=3, count=1,
        say=said.append,
    )  # fmt: skip
    assert done.counts == {"finished": 3}, said
    assert any("room for 2 of 3" in line for line in said)


def test_an_agent_that_is_lost_with_its_node_is_started_again(two: TwoNodes, world: World) -> None:
    folder = world.folder / "lost"
    folder.mkdir()
    source = f"""
    import os, pathlib, time, tune_bridge
    run = tune_bridge.init()
    folder = pathlib.Path({str(folder)!r})
    (folder / os.environ["RAY_RAYLET_PID"]).touch()
    while not (folder / "end").exists():
        time.sleep(0.01)
    run.log({{"loss": run.config.x}})
    """
    world.program(source, folder=folder)
    settings = Settings(lease=2.0, heartbeat=0.5)
    sweep = world.sweep(program="train.py", run_cap=3, settings=settings)
    third = two.cluster.add_node(num_cpus=1)
    fourth = None
    said: list[str] = []

    def work() -> object:
        server = Server(world.url, KEY)
        return agents_on_ray(
            server, sweep, address=two.address, folder=folder, number=3, say=said.append
        )

    try:
        thread, found = in_thread(work)
        until(lambda: len([*folder.glob("[0-9]*")]) == 3 or not thread.is_alive(), 120)
        two.cluster.remove_node(third, allow_graceful=False)
        fourth = two.cluster.add_node(num_cpus=1)
        raylet = fourth.all_processes["raylet"][0].process.pid
        until(lambda: (folder / str(raylet)).exists() or not thread.is_alive(), 120)
        (folder / "end").touch()
        thread.join(120)
    finally:
        (folder / "end").touch()
        if fourth is not None:
            two.cluster.remove_node(fourth)
    assert found, said
    done, by_hand = found[0]
    assert (done.counts, by_hand) == ({"finished": 3}, False), said
    assert [run.state for run in world.runs(sweep)] == ["finished"] * 3
    assert len([line for line in said if "another one takes its place (1 of 3 times)" in line]) == 1


def test_programs_end_when_the_command_is_killed(two: TwoNodes, world: World) -> None:
    with Shell(world, two, "killed") as shell:
        until(_two_programs(shell), 120)
    until(lambda: not alive(shell.pids()), 120)


def test_what_can_be_known_before(two: TwoNodes, world: World, tmp_path: Path) -> None:
    sweep = world.sweep(program="nothing.py")
    server = Server(world.url, KEY)
    with pytest.raises(BackendError, match="the program does not exist"):
        agents_on_ray(server, sweep, address=two.address, folder=tmp_path)
    with pytest.raises(InputError, match="no node has room for an agent"):
        agents_on_ray(server, sweep, address=two.address, folder=tmp_path, gpus=1)
    with pytest.raises(BackendError, match="no Ray session at"):
        agents_on_ray(server, sweep, address="127.0.0.1:1", folder=tmp_path)


def test_a_server_of_this_machine_alone_is_refused_for_others() -> None:
    nodes = [{"NodeManagerHostname": "far"}, {"NodeManagerHostname": "near"}]
    with pytest.raises(InputError, match=r"for this machine alone.*far, near.*--host ADDRESS"):
        _check_reach("http://127.0.0.1:8265", nodes)
    _check_reach("http://head.example:8265", nodes)
