"""What a dialect is: a reader, a writer and a name, found through one registry.

A dialect turns one outside notation into an `Experiment` and back. Readers and writers return a
`Translation`: the result and the notes. Third parties register a dialect through the entry point
group ``tune_bridge.dialects``.
"""

from __future__ import annotations

import abc
import importlib
from typing import Any, Generic, TypeVar

from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Notes

__all__ = ["DIALECTS", "Dialect", "Translation", "get_dialect", "suggest"]

T_co = TypeVar("T_co", covariant=True)


class Translation(Generic[T_co]):
    """What a reader or writer made, and what it has to say about it.

    Attributes:
        value: The experiment, or the thing in the outside notation.
        notes: Remarks, in the order in which they came up.
    """

    def __init__(self, value: T_co, notes: Notes | None = None) -> None:
        self.value = value
        self.notes = Notes() if notes is None else notes

    def __repr__(self) -> str:
        return f"Translation({self.value!r}, {self.notes!r})"


class Dialect(abc.ABC):
    """One outside notation. Stateless; instances are shared."""

    name: str
    """What people call it on the command line."""

    suffixes: tuple[str, ...] = ()
    """File name endings that it is written to."""

    @abc.abstractmethod
    def read(self, source: Any, notes: Notes | None = None) -> Translation[Experiment]:
        """Reads the notation's own objects (recorded, or live).

        Raises:
            SpecError: The source is malformed.
            UnsupportedError: The source says something that cannot be translated.
        """

    @abc.abstractmethod
    def write(self, experiment: Experiment) -> Translation[Any]:
        """Writes the notation's own objects: plain data or `Call` values, no live object."""

    @abc.abstractmethod
    def source(self, experiment: Experiment) -> Translation[str]:
        """Writes the text of a file: YAML, or a Python program."""


DIALECTS: dict[str, str] = {
    "sweep": "tune_bridge.dialects.sweep:SweepDialect",
    "tune": "tune_bridge.dialects.ray_tune:TuneDialect",
    "hyperopt": "tune_bridge.dialects.hyperopt:HyperOptDialect",
    "optuna": "tune_bridge.dialects.optuna:OptunaDialect",
    "configspace": "tune_bridge.dialects.configspace:ConfigSpaceDialect",
    "nevergrad": "tune_bridge.dialects.nevergrad:NevergradDialect",
    "ax": "tune_bridge.dialects.ax:AxDialect",
    "skopt": "tune_bridge.dialects.skopt:SkOptDialect",
    "bayesopt": "tune_bridge.dialects.bayesopt:BayesOptDialect",
    "legacy": "tune_bridge.dialects.legacy:LegacyDialect",
}
"""Built-in dialects: name -> ``module:class``, loaded on first use."""


_OTHER_NAMES = {
    **dict.fromkeys(("ray", "raytune", "ray_tune", "python", "py"), "tune"),
    **dict.fromkeys(("wandb", "w&b", "yaml", "yml", "json"), "sweep"),
    **dict.fromkeys(("hp", "tpe"), "hyperopt"),
    **dict.fromkeys(("scikit-optimize", "sklearn"), "skopt"),
}
"""What people call a notation -> its name, for the hint."""


def get_dialect(name: str) -> Dialect:
    """The dialect called `name`.

    Raises:
        InputError: There is none; the message names the nearest.
    """
    target = DIALECTS.get(name) or _entry_points().get(name)
    if target is None:
        known = sorted({*DIALECTS, *_entry_points()})
        raise InputError(
            f"unknown notation {name!r}",
            expected=f"one of {', '.join(known)}",
            hint=suggest(_OTHER_NAMES.get(name.lower(), name), known),
        )
    module, _, attribute = target.partition(":")
    dialect: Dialect = getattr(importlib.import_module(module), attribute)()
    return dialect


def _entry_points() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {entry.name: entry.value for entry in entry_points(group="tune_bridge.dialects")}


def suggest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """A hint that names the nearest of the known words; empty when none is near."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else ""
