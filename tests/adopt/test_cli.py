"""``tune-bridge adopt`` as people call it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tune_bridge.backends import open_backend
from tune_bridge.cli.main import main

SOURCE = Path(__file__).parent / "ray1"
RAY1 = Path("ray1")


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.delenv("TUNE_BRIDGE_BACKEND", raising=False)
    monkeypatch.setenv("TUNE_BRIDGE_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _old(tmp_path, monkeypatch):
    """Results that nobody writes any more: what still runs in them has crashed."""
    for path in Path(shutil.copytree(SOURCE, tmp_path / "ray1")).rglob("*"):
        os.utime(path, (time.time() - 7200,) * 2)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def say(capfd):
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return (int(ended.value.code or 0), *capfd.readouterr())

    return run


def test_it_says_what_it_did_and_how_to_go_on(say):
    code, out, err = say("adopt", RAY1 / "mnist", "--project", "digits", "--program", "train.py")
    with open_backend() as backend:
        (sweep,) = backend.sweeps()
    assert code == 0
    assert out.splitlines() == [
        f"sweep {sweep.id} (mnist) in project digits: Ray Tune experiment",
        "  4 runs (1 crashed, 1 failed, 2 finished), 4 new, 7 rows added",
        "  minimize mean_loss; bayes would learn from 1 of them",
        f"  go on with it: tune-bridge agent {sweep.id}",
    ]
    assert "note: parameters: inferred from the values of the trials" in err
    assert "1 trials had not begun" in err
    assert sweep.config["program"] == "train.py"
    assert sweep.meta["adopted"]["from"].endswith("mnist")


def test_json_and_quiet(say):
    code, out, err = say("adopt", RAY1, "--json", "--metric", "mean_loss")
    mnist, older = json.loads(out)
    assert (code, err, mnist["added"], older["runs"]) == (0, "", 4, 2)
    code, out, err = say("adopt", RAY1 / "older", "-q")
    assert (code, err) == (0, "")
    assert "0 new" in out


def test_a_dry_run_shows_the_config_and_makes_no_file(say, tmp_path):
    code, out, _ = say("adopt", RAY1 / "mnist", "--dry-run")
    assert code == 0
    assert "would be made in project uncategorized" in out
    assert "distribution: log_uniform_values" in out
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing"], "missing: no such file or folder"),
        ([RAY1 / "mnist", "--searcher", "Hyperopt"], "no such searcher"),
        ([RAY1 / "mnist", "--goal", "maximize", "--backend", "wandb"], "a place of our own"),
        ([RAY1 / "mnist", "--metric", "x"], "add --goal minimize"),
        (["postgresql://user:secret@host/db"], "only files and folders"),
        (["x" * 5000], "no path: File name too long"),
    ],
)
def test_errors_are_one_line(say, arguments, words):
    code, out, err = say("adopt", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert words in err
    assert "secret" not in err


@pytest.mark.slow
def test_an_interrupted_one_goes_on(say, tmp_path):
    long = next((tmp_path / RAY1 / "mnist").glob("*00001*")) / "result.json"
    row = json.loads(long.read_text().splitlines()[0])
    with long.open("w") as file:
        for step in range(1, 60_001):
            file.write(json.dumps({**row, "training_iteration": step, "done": False}) + "\n")
    command = [sys.executable, "-m", "tune_bridge", "adopt", str(RAY1 / "mnist")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while not _rows():
            assert time.monotonic() < until
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command goes on with it" in err
    assert err.splitlines()[-1] == "interrupted"
    code, out, _ = say("adopt", RAY1 / "mnist")
    assert code == 0
    assert "4 runs" in out
    assert _rows() > 60_000


def _rows() -> int:
    with open_backend() as backend:
        sweeps = backend.sweeps()
        return sum(run.rows for sweep in sweeps for run in backend.runs(sweep.id))
