"""A program as a trainable of Tune, driven by hand: checkpoints, reuse, halting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray.tune")

from tune_bridge.trainable import ProgramTrainable, program_trainable
from tune_bridge.trial import ProgramError, ProgramSettings

SOURCE = """
import os, tune_bridge
run = tune_bridge.init()
state = run.checkpoint_dir / "state"
total = int(state.read_text()) if state.exists() else 0
for _ in range(3):
    total += run.config.x
    state.write_text(str(total))
    run.log({"gain": total, "pid_of_mine": os.getpid(), "id": run.id})
"""


def make(folder: Path, results: str, **config: Any) -> ProgramTrainable:
    (folder / "my-train.py").write_text(SOURCE)
    settings = ProgramSettings(
        program="my-train.py",
        cwd=str(folder),
        metric="gain",
        sweep_id="s1",
        results_dir=str(folder / results),
        grace=0.2,
    )
    kind = program_trainable(settings)
    assert kind.__name__ == "my-train"
    return kind(config)


def test_a_checkpoint_goes_from_one_to_another(tmp_path: Path) -> None:
    donor, heir = make(tmp_path, "a", x=1), make(tmp_path, "b", x=10)
    try:
        assert [donor.train()["gain"] for _ in range(2)] == [1, 2]
        saved = tmp_path / "saved"
        saved.mkdir()
        donor.save_checkpoint(str(saved))
        assert heir.train()["gain"] == 10
        heir.load_checkpoint(str(saved))
        assert heir.train()["gain"] == 12
    finally:
        donor.stop()
        heir.stop()


def test_a_worker_is_reused(tmp_path: Path) -> None:
    worker = make(tmp_path, "a", x=1)
    first = worker.train()
    assert first["id"] == "s1-default"
    assert worker.reset_config({"x": 5})
    assert not psutil.pid_exists(first["pid_of_mine"])
    # The same trial id here, so that it finds its own folder: it goes on from there.
    second = worker.train()
    assert second["gain"] == 6
    worker.halt()
    worker.halt()
    assert not psutil.pid_exists(second["pid_of_mine"])
    worker.stop()


def test_to_the_end(tmp_path: Path) -> None:
    worker = make(tmp_path, "a", x=1)
    results = [worker.train() for _ in range(3)]
    assert [result["training_iteration"] for result in results] == [1, 2, 3]
    assert worker.train()["__duplicate__"] is True
    worker.stop()


def test_failure(tmp_path: Path) -> None:
    worker = make(tmp_path, "a", y=1)
    with pytest.raises(ProgramError, match="no parameter 'x'"):
        worker.train()
    worker.stop()
