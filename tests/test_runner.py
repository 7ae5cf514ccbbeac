"""Sweeps on a real Ray session: programs that behave, fail, hang and are stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tune_bridge.backends import open_backend
from tune_bridge.backends.base import Run, Sweep
from tune_bridge.errors import InputError
from tune_bridge.runner import Progress, Result, remarks, run_sweep
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.values import Frozen

pytestmark = [pytest.mark.ray, pytest.mark.slow]

START = "import os, sys, signal, subprocess, time, tune_bridge\nrun = tune_bridge.init()\n"

CHILD = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""

STUBBORN = f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
with open("pids", "a") as file:
    print(os.getpid(), child.pid, file=file)
"""


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    for key in ("RAY_USAGE_STATS_ENABLED", "RAY_AIR_NEW_OUTPUT"):
        patch.setenv(key, "0")
    ray = pytest.importorskip("ray")
    ray.init(
        "local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False
    )
    yield
    ray.shutdown()
    patch.undo()


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.NoSuchProcess:
            pass
    return found


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come about"
        time.sleep(0.05)


class Sweeps:
    """Runs sweeps in a folder and reads them back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'sweeps.db'}"
        self.seen: list[Progress] = []

    def run(self, source: str, config: dict[str, Any] | None = None, **options: Any) -> Result:
        (self.folder / "train.py").write_text(START + textwrap.dedent(source))
        sweep = {
            "program": "train.py",
            "method": "random",
            "metric": {"name": "loss", "goal": "minimize"},
            "run_cap": 3,
            "parameters": {"x": {"min": 0.0, "max": 1.0}},
            **(config or {}),
        }
        options = {"grace": 0.3, "cpus_per_trial": 0.5, **options}
        return run_sweep(
            SweepConfig(sweep),
            folder=self.folder,
            backend=self.url,
            progress=self.seen.append,
            **options,
        )

    def read(self, result: Result) -> tuple[Sweep, list[Run]]:
        with open_backend(self.url) as backend:
            return backend.sweep(result.sweep_id), backend.runs(result.sweep_id)

    def pids(self) -> list[int]:
        path = self.folder / "pids"
        return [int(word) for word in path.read_text().split()] if path.exists() else []


@pytest.fixture
def sweeps(tmp_path: Path) -> Sweeps:
    return Sweeps(tmp_path)


def test_good_programs(sweeps: Sweeps) -> None:
    result = sweeps.run(
        """
        for i in range(3):
            run.log({"i": i})
            run.log({"loss": run.config.x + 1 / (i + 1)})
        """
    )
    sweep, runs = sweeps.read(result)
    assert (result.counts, result.usable, result.interrupted) == ({"finished": 3}, 3, False)
    assert sweep.state == "finished"
    assert [run.state for run in runs] == ["finished"] * 3
    assert {run.exit_code for run in runs} == {0}
    assert {run.rows for run in runs} == {6}
    best = min(runs, key=lambda run: run.summary["loss"])
    assert result.best is not None
    assert (result.best.run_id, result.best.config) == (best.id, best.config)
    assert sweeps.seen[-1].done == 3
    with open_backend(sweeps.url) as backend:
        rows = backend.history(best.id)
    assert [row.step for row in rows] == list(range(6))
    assert rows[1].values["training_iteration"] == 1
    assert "training_iteration" not in rows[0].values
    assert result.results_dir is not None
    assert len(list(Path(result.results_dir).glob("*/output.log"))) == 3


def test_a_bad_program_does_not_end_the_sweep(sweeps: Sweeps) -> None:
    """One trial of each kind; the searcher hears of failures, the backend keeps what happened."""
    result = sweeps.run(
        """
        kind = run.config.kind
        run.log({"before": 1})
        if kind == "nan":
            run.log({"loss": float("nan")})
        elif kind == "error":
            run.log({"loss": 0.1})
            raise ValueError("broken")
        elif kind == "garbage":
            os.write(1, bytes(range(256)) * 20)
            os.write(2, b"\\xff" * 100)
            run.log({"loss": 0.2})
        elif kind == "fast":
            run.log({"loss": 0.05})
            run.log({"after": 1})
            os._exit(0)
        """,
        {
            "method": "grid",
            "run_cap": 5,
            "parameters": {"kind": {"values": ["nan", "error", "garbage", "fast", "silent"]}},
        },
    )
    _, runs = sweeps.read(result)
    found = {run.config["kind"]: run for run in runs}
    assert {kind: run.state for kind, run in found.items()} == {
        "nan": "finished",
        "error": "failed",
        "garbage": "finished",
        "fast": "finished",
        "silent": "finished",
    }
    assert "is nan, no usable number; the searcher was told of a failure" in found["nan"].message
    assert "never reported the metric 'loss'; it reported before" in found["silent"].message
    assert "exit code 1" in found["error"].message
    assert "ValueError: broken" in found["error"].message
    assert found["error"].exit_code == 1
    assert found["fast"].summary["after"] == 1
    assert all(run.summary["before"] == 1 for run in runs)
    assert result.best is not None
    assert result.best.config == {"kind": "fast"}
    assert result.usable == 2
    assert len(result.errors) == 3


def test_hyperopt_is_told_of_failures(sweeps: Sweeps) -> None:
    result = sweeps.run(
        "run.log({'loss': float('nan') if run.config.x < 0.5 else run.config.x})\n",
        {"method": "bayes", "run_cap": 4},
    )
    _, runs = sweeps.read(result)
    assert len(runs) == 4
    assert result.usable == sum(run.config["x"] >= 0.5 for run in runs)


def test_hyperband_stops_programs_that_ignore_it(sweeps: Sweeps) -> None:
    """The scheduler's STOP ends a program and its child, also while the worker waits for reuse."""
    result = sweeps.run(
        STUBBORN + "for i in range(20):\n    run.log({'loss': run.config.x, 'i': i})\n",
        {
            "method": "grid",
            "run_cap": None,
            "parameters": {"x": {"values": [1, 2, 3, 4, 5, 6]}},
            "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2},
        },
        max_concurrent=1,
    )
    _, runs = sweeps.read(result)
    early = [run for run in runs if run.stopped_early]
    assert len(early) == result.stopped_early > 0
    assert all(run.state == "finished" for run in runs)
    assert "hyperband: loss" in early[0].message
    assert "the threshold of" in early[0].message
    assert len(sweeps.pids()) == 12
    assert alive(sweeps.pids()) == []


def test_stop_criteria_are_no_early_stops(sweeps: Sweeps) -> None:
    (sweeps.folder / "train.py").write_text(START + "while True: run.log({'loss': run.config.x})\n")
    config = SweepConfig(
        program="train.py",
        method="random",
        run_cap=2,
        metric={"name": "loss", "goal": "minimize"},
        parameters={"x": {"min": 0.0, "max": 1.0}},
    )
    experiment = config.experiment.replace(stop=Frozen({"training_iteration": 3}))
    result = run_sweep(
        experiment, folder=sweeps.folder, backend=sweeps.url, cpus_per_trial=0.5, grace=0.3
    )
    _, runs = sweeps.read(result)
    assert [run.summary["training_iteration"] for run in runs] == [3, 3]
    assert [run.stopped_early for run in runs] == [False, False]
    assert runs[0].message == "reached training_iteration >= 3"


def test_target_ends_the_sweep(sweeps: Sweeps) -> None:
    result = sweeps.run(
        "run.log({'loss': 1})\nrun.log({'loss': 0})\nwhile True: time.sleep(600)\n",
        {"metric": {"name": "loss", "goal": "minimize", "target": 0.5}, "run_cap": 50},
        max_concurrent=1,
    )
    sweep, runs = sweeps.read(result)
    assert len(runs) < 50
    assert sweep.state == "finished"
    assert any("reached the target 0.5" in run.message for run in runs)


def test_what_can_be_known_before(sweeps: Sweeps) -> None:
    with pytest.raises(InputError, match="the program does not exist"):
        run_sweep(
            {
                "program": "nothing.py",
                "method": "random",
                "run_cap": 1,
                "parameters": {"x": {"value": 1}},
            },
            folder=sweeps.folder,
        )
    with pytest.raises(InputError, match="more GPU than there is"):
        sweeps.run("", gpus_per_trial=64)
    with pytest.raises(InputError, match="num_samples"):
        sweeps.run("", num_samples=0)


def test_every_trial_fails(sweeps: Sweeps) -> None:
    result = sweeps.run("raise SystemExit(7)\n", {"run_cap": 2})
    assert (result.usable, result.best, result.counts) == (0, None, {"failed": 2})
    assert "exit code 7" in result.errors[0]


def test_remarks_are_about_what_is_not_done() -> None:
    """W&B's bayes and hyperband are done as they are."""
    config = SweepConfig(
        program="train.py",
        command=["${interpreter}", "${program}"],
        project="mine",
        method="bayes",
        metric={"name": "loss", "goal": "minimize"},
        early_terminate={"type": "hyperband", "min_iter": 3},
        parameters={"x": {"min": 0.0, "max": 1.0}},
    )
    assert remarks(config.experiment) == []


def test_errors_are_told_once(sweeps: Sweeps) -> None:
    result = sweeps.run("print('a')\nraise SystemExit('no data')\n", {"run_cap": 3})
    assert result.counts == {"failed": 3}
    assert len(result.errors) == 1


def test_a_trainable_of_tune(sweeps: Sweeps) -> None:
    config = SweepConfig(
        program="unused.py",
        method="random",
        run_cap=2,
        metric={"name": "loss", "goal": "minimize"},
        parameters={"x": {"min": 0.0, "max": 1.0}},
    )
    experiment = config.experiment.replace(
        program=None, trainable="tests.test_callback:train", stop=Frozen({"training_iteration": 4})
    )
    result = run_sweep(experiment, folder=sweeps.folder, backend=sweeps.url, cpus_per_trial=0.5)
    _, runs = sweeps.read(result)
    assert [(run.state, run.rows) for run in runs] == [("finished", 4)] * 2
    assert result.results_dir is None


class Terminal:
    """The command line in a process of its own."""

    def __init__(self, folder: Path, source: str, *arguments: str, **config: Any) -> None:
        (folder / "train.py").write_text(START + textwrap.dedent(source))
        sweep = {
            "program": "train.py",
            "method": "random",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"min": 0.0, "max": 1.0}},
            **config,
        }
        (folder / "sweep.yaml").write_text(json.dumps(sweep))
        self.url = f"sqlite:///{folder / 'sweeps.db'}"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from tune_bridge.cli.main import main; main()"),
                *("run", str(folder / "sweep.yaml"), "--backend", self.url),
                *arguments,
            ],
            env={**os.environ, "TUNE_BRIDGE_HOME": str(folder / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c(tmp_path: Path, number: int) -> None:
    """A program that does not even report, with a child, both deaf to SIGTERM: all is gone.

    SIGTERM is how a service manager or a batch system says the same.
    """
    terminal = Terminal(
        tmp_path,
        STUBBORN + "while True: time.sleep(600)\n",
        "--grace",
        "0.3",
        "--max-concurrent",
        "1",
    )
    pids = tmp_path / "pids"
    try:
        until(lambda: pids.exists() and len(pids.read_text().split()) >= 2, 120)
        if number == signal.SIGINT:
            os.killpg(terminal.process.pid, number)  # as a terminal does
        else:
            terminal.process.terminate()
        out, err = terminal.process.communicate(timeout=60)
    finally:
        terminal.process.kill()
    assert terminal.process.returncode == 130
    assert "Ctrl-C again kills them" in err
    assert "interrupted; the runs are kept" in out
    assert "Traceback" not in out + err
    assert "SIGTERM" not in out + err
    assert alive([int(word) for word in pids.read_text().split()]) == []
    with open_backend(terminal.url) as backend:
        (sweep,) = backend.sweeps()
        runs = backend.runs(sweep.id)
    assert sweep.state == "canceled"
    assert [(run.state, run.message) for run in runs] == [("killed", "interrupted")]


@pytest.mark.parametrize("after", [0, 2])
def test_second_ctrl_c_kills(tmp_path: Path, after: float) -> None:
    """With an hour of grace left, the second Ctrl-C waits for nobody.

    Pressed at once it comes before the workers have heard of the first; later they wait already.
    """
    source = STUBBORN + "while True: time.sleep(600)\n"
    terminal = Terminal(tmp_path, source, "--grace", "3600", "--max-concurrent", "1")
    pids = tmp_path / "pids"
    try:
        until(lambda: pids.exists() and len(pids.read_text().split()) >= 2, 120)
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.process.stderr is not None
        while "Ctrl-C again kills" not in terminal.process.stderr.readline():
            pass
        time.sleep(after)
        os.killpg(terminal.process.pid, signal.SIGINT)
        out, err = terminal.process.communicate(timeout=60)
    finally:
        terminal.process.kill()
    assert terminal.process.returncode == 130
    assert "Traceback" not in out + err
    until(lambda: alive([int(word) for word in pids.read_text().split()]) == [])
    with open_backend(terminal.url) as backend:
        (sweep,) = backend.sweeps()
        assert [run.state for run in backend.runs(sweep.id)] == ["killed"]


def test_command_line_result(tmp_path: Path) -> None:
    terminal = Terminal(
        tmp_path, "run.log({'loss': run.config.x})\n", "--json", "--num-samples", "2"
    )
    out, err = terminal.process.communicate(timeout=120)
    assert terminal.process.returncode == 0, err
    result = json.loads(out)
    assert result["counts"] == {"finished": 2}
    assert result["best"]["value"] == result["best"]["config"]["x"]
    assert "2/2 trials" in err
