"""Folders of wandb, written by the real client in a process of its own."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("wandb")

from tune_bridge.adopt import adopt
from tune_bridge.adopt.wandb_file import HEADER
from tune_bridge.backends.local import LocalBackend
from tune_bridge.errors import InputError
from tune_bridge.space import Parameter, Uniform
from tune_bridge.sweep_config import SweepConfig

PROGRAM = """
import wandb
for number in range(3):
    run = wandb.init(
        project="paper", name=f"try {number}", id=f"run0000{number}",
        config={"lr": 10.0 ** -(number + 1), "net": {"size": 8}, "out": f"out/{number}"},
        settings=wandb.Settings(mode="offline", silent=True, console="off"),
    )
    for step in range(4):
        run.log({"val": {"loss": 1.0 / (step + 1)}, "nan": float("nan"), "text": "hello",
                 "hist": wandb.Histogram([1, 2, 3])})
    run.summary["best"] = number
    run.config.update({"late": 7})
    run.finish(exit_code=int(number == 1))
run = wandb.init(
    project="other", entity="team", id="ofsweep1", config={"lr": 1.0},
    settings=wandb.Settings(
        mode="offline", silent=True, console="off", sweep_id="7gd5mxko"
    ),
)
run.finish()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, check=True, timeout=300,
        env={**kept, "HOME": str(folder)}, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "wandb", tmp_path / "client" / "wandb", symlinks=True))


@pytest.fixture
def place(tmp_path):
    backend = LocalBackend.open(str(tmp_path / "sweeps.db"))
    yield backend
    backend.close()


def file_of(folder: Path, number: int) -> Path:
    (found,) = folder.glob(f"*run-*/run-run0000{number}.wandb")
    return found


pytestmark = pytest.mark.slow


def test_a_folder_becomes_a_sweep(folder, place):
    sweep, other = adopt(folder.parent, backend=place, metric="val/loss")
    assert (other.sweep, other.project, other.runs) == ("7gd5mxko", "other", 1)  # W&B's own
    assert (sweep.name, sweep.project, sweep.runs, sweep.rows) == ("client", "paper", 3, 12)
    assert sweep.states == {"finished": 2, "failed": 1}
    assert sweep.metric == {"name": "val/loss", "goal": "minimize"}
    runs = place.runs(sweep.sweep)
    assert [(run.id, run.name) for run in runs] == [(f"run0000{n}", f"try {n}") for n in range(3)]
    assert [run.exit_code for run in runs] == [0, 1, 0]
    for number, run in enumerate(runs):
        assert run.config == {
            "lr": 10.0 ** -(number + 1), "net": {"size": 8}, "late": 7, "out": f"out/{number}",
        }  # fmt: skip
        rows = place.history(run.id)
        assert [row.values["val/loss"] for row in rows] == [1.0, 0.5, 1 / 3, 0.25]
        assert all(set(row.values) == {"val/loss", "nan", "text"} for row in rows)
        assert math.isnan(rows[0].values["nan"])
        assert run.created_at <= rows[0].time <= rows[-1].time <= run.ended_at <= time.time()
        assert (run.summary["best"], run.summary["val/loss"]) == (number, 0.25)
    space = SweepConfig(sweep.config).experiment.space
    assert space.get("lr") == Parameter(Uniform(1e-3, 0.1, "log"))
    assert space.get("out") is None
    assert "hist" in {note["path"] for note in sweep.notes}


def test_again_also_from_inside_adds_nothing(folder, place):
    sweep, _ = adopt(folder, backend=place)
    for path in (folder, folder.parent, file_of(folder, 1).parent, file_of(folder, 1)):
        again, *_ = adopt(path, backend=place)
        assert (again.sweep, again.added, again.rows) == (sweep.sweep, 0, 0)
    assert len(SweepConfig(place.sweep(sweep.sweep).config).experiment.searched) == 1
    elsewhere = shutil.copytree(folder, folder.parent.parent / "other" / "wandb", symlinks=True)
    with pytest.raises(InputError, match=f"run run00000 is there already, in sweep {sweep.sweep}"):
        adopt(elsewhere, backend=place)


def test_a_file_that_is_cut_off_is_read_to_its_last_record(folder, place):
    """Its run goes on, or was killed, by when the file was last written."""
    path = file_of(folder, 2)
    path.write_bytes(path.read_bytes()[:-100])
    (sweep,) = adopt(path, backend=place)
    assert sweep.states == {"running": 1}
    assert any("cut off" in str(note.get("why")) for note in sweep.notes)
    os.utime(path, (time.time() - 7200,) * 2)
    (again,) = adopt(path, backend=place)
    assert (again.states, place.run("run00002").state) == ({"crashed": 1}, "crashed")


def test_a_file_that_is_damaged_is_named(folder, place):
    path = file_of(folder, 0)
    data = bytearray(path.read_bytes())
    data[len(HEADER) + 20] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"run-run00000.wandb: damaged at byte 7"):
        adopt(folder, backend=place)
    assert place.sweeps() == []


def test_runs_without_parameters(tmp_path, place, made):
    empty = tmp_path / "wandb" / "offline-run-20260101_000000-abc"
    empty.mkdir(parents=True)
    (empty / "run-abc.wandb").write_bytes(HEADER)
    with pytest.raises(InputError, match="no run of wandb's is in it"):
        adopt(tmp_path, backend=place)
