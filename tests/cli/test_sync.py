"""`tune-bridge sync`: a backend that was away gets what it has missed, in order and once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tune_bridge.backends import open_backend
from tune_bridge.backends.base import LogRows, PutRun, PutSweep, Row, Run, Sweep
from tune_bridge.backends.writer import Writer
from tune_bridge.cli.main import main


def call(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code


def test_what_was_missed_is_delivered_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "place"
    blocked.write_text("no folder")
    place = f"sqlite:///{blocked}/sweeps.db"
    assert call("sync", "--backend", place) == 0, "there is nothing"
    writer = Writer(place)
    writer.put(PutSweep(Sweep(id="s")))
    writer.put(PutRun(Run(id="r", sweep_id="s")))
    for step in range(5):
        writer.put(LogRows("r", [Row(step, float(step), {"loss": step})]))
    left = writer.close(timeout=0.5)
    assert left.count == 7
    assert call("sync", "--backend", place) == 1, "it is still away"
    blocked.unlink()
    blocked.mkdir()
    capsys.readouterr()
    assert call("sync", "--backend", place, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"delivered": 7, "refused": []}
    with open_backend(place) as backend:
        assert [row.values["loss"] for row in backend.history("r")] == list(range(5))
    assert call("sync", "--backend", place) == 0
    assert capsys.readouterr().out.startswith("0 changes were brought to sqlite:///")


def test_what_is_refused_stays_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"sqlite:///{tmp_path / 'sweeps.db'}"
    with Writer(place) as writer:
        writer.put(LogRows("nobody", [Row(0, 0.0, {"loss": 1})]))
    assert call("sync", "--backend", place) == 1
    named = capsys.readouterr().err.strip().rpartition(": ")[2]
    assert "nobody" in Path(named).read_text()
