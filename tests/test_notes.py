"""Notes and errors say where, what and what to do."""

from __future__ import annotations

import pickle

import pytest

from tune_bridge.errors import InputError, MissingExtraError, SpecError, UnsupportedError
from tune_bridge.notes import Level, Notes


def test_levels_decide_what_is_refused() -> None:
    notes = Notes()
    notes.exact("a", "same")
    assert notes.require(Level.EXACT) is notes
    notes.carried("b", "near", "why")
    with pytest.raises(UnsupportedError, match=r"b: near \(carried\) - why"):
        notes.require(Level.EXACT)
    notes.require()
    notes.lost("c", "gone", "no words", "do this")
    notes.lost("d", "gone too")
    with pytest.raises(UnsupportedError, match=r"c: gone .* \(do this; and 1 more\)"):
        notes.require()
    assert notes.worst is Level.LOST
    assert [note.path for note in notes.at("c")] == ["c"]
    assert notes[1].as_dict() == {"level": "carried", "path": "b", "what": "near", "why": "why"}


def test_an_error_reads_from_place_to_remedy_and_survives_a_process() -> None:
    error = SpecError(
        "bad", path="a.b", found="1", expected="2", hint="do", source="f", line=3, column=4
    )
    assert str(error) == "f:3:4: a.b: bad; found 1, expected 2 (do)"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is SpecError
    assert str(copy) == str(error)
    assert str(InputError("bad")) == "bad"
    assert str(InputError("bad").at("f", 1, 2)) == "f:1:2: bad"


def test_a_missing_extra_names_the_command() -> None:
    assert "pip install 'tune-bridge[ray]'" in str(MissingExtraError("ray", "ray", "running"))
