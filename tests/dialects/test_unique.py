"""Random search without replacement: the carry says it, and nothing else drops it unsaid."""

from __future__ import annotations

import pytest

from tune_bridge.dialects.base import DIALECTS, get_dialect
from tune_bridge.experiment import RANDOM, Algorithm, Experiment
from tune_bridge.notes import Level
from tune_bridge.space import Choice, Constant, Group

UNIQUE = Experiment(
    space=Group((("x", Choice((Constant.of(1), Constant.of(2)))),)),
    searcher=Algorithm.of(RANDOM.kind, unique=True),
    program="train.py",
)


def test_a_sweep_carries_it() -> None:
    sweep = get_dialect("sweep")
    written = sweep.write(UNIQUE)
    assert sweep.read(written.value).value == UNIQUE
    (note,) = written.notes.at("method")
    assert note.level is Level.CARRIED


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "sweep"])
def test_everything_else_has_a_note(name: str) -> None:
    notes = get_dialect(name).source(UNIQUE).notes
    found = [note for note in notes if note.path.startswith("searcher")]
    assert [note.level for note in found] == [Level.APPROXIMATED]
