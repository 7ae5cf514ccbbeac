"""What to say of an experiment that names nothing that runs."""

from __future__ import annotations

from tune_bridge.command import NO_PROGRAM, startable
from tune_bridge.notes import Level, Note
from tune_bridge.sweep_config import SweepConfig

__all__ = ["PROGRAM", "program_note"]

PROGRAM = "program"
"""Path of the note."""

_FILL = ("no program", "the function that trains is to be filled in")
_SAID = {"sweep": NO_PROGRAM, "legacy": NO_PROGRAM, "tune": _FILL, "hyperopt": _FILL}
"""Notation whose result starts something -> what is missing, and what to do."""


def program_note(config: SweepConfig, target: str) -> Note | None:
    """A note when nothing says what runs; None when something does, or the target asks for none.

    Args:
        config: The sweep.
        target: The notation that is written.
    """
    if target not in _SAID or startable(config):
        return None
    what, why = _SAID[target]
    return Note(Level.EXACT, PROGRAM, what, why)
