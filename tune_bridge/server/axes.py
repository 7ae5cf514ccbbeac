"""Axes of the parallel coordinates: where a value stands on its axis, and which ticks it has."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from tune_bridge.server.fields import pick_of, same_key
from tune_bridge.server.packed import pack
from tune_bridge.server.values import is_number, number, text
from tune_bridge.server.views import Dimension

__all__ = ["Axis", "labels", "make_axis", "ticks"]

_LABEL = 18
_LONGEST = 60
_CATEGORIES = 25
_FINE = 40
_GAP = 0.1
"""How far below the lowest value runs without one stand, of the axis's length."""


class Axis(msgspec.Struct, frozen=True):
    """One axis, ready to be drawn.

    Attributes:
        label: Its name.
        positions: Where each run stands.
        low: Lower end of the axis.
        high: Upper end.
        tick_positions: Where the ticks are.
        tick_texts: What stands at them.
        log: Positions are decimal logarithms.
        options: What stands at 0, 1, ... of a categorical axis; None for numbers.
        missing: Where runs without a value stand, or None when there are none.
    """

    label: str
    positions: list[float]
    low: float
    high: float
    tick_positions: list[float]
    tick_texts: list[str]
    log: bool = False
    options: tuple[Any, ...] | None = None
    missing: float | None = None

    def plotly(self, field: str, picked: Sequence[Any] = ()) -> dict[str, Any]:
        """The axis as a dimension of ``parcoords``.

        Plotly reads tags in its name, which is escaped therefore, and none in the texts at its
        ticks.

        Plotly draws an axis from its first tick to its last one, and a range that is picked snaps
        to its ticks: bare ticks stand at the ends, and close together on an axis of numbers.

        Args:
            field: Its name, for scripts.
            picked: What is picked on it; see `Selection.picks`.
        """
        bare = [self.low, self.high]
        if self.options is None:
            start = self.low if self.missing is None else min(self._numbers()[0], self.high)
            step = (self.high - start) / _FINE
            bare += [float(f"{start + step * place:.6g}") for place in range(1, _FINE)]
        marks = dict(zip(self.tick_positions, self.tick_texts, strict=True))
        # Each has a text of its own: to Plotly, equal ones are one tick.
        marks = {**{mark: " " * place for place, mark in enumerate(sorted(set(bare)))}, **marks}
        ranges = [part for item in picked for part in self._ranges(item)]
        return {
            "name": field,
            "label": html.escape(self.label, quote=False),
            "values": pack(self.positions),
            "range": [self.low, self.high],
            "tickvals": sorted(marks),
            "ticktext": [marks[mark] for mark in sorted(marks)],
            **({"constraintrange": ranges} if ranges else {}),
        }

    def meaning(self) -> dict[str, Any]:
        """What a position on it stands for, for scripts that read what was picked."""
        return {
            "label": self.label,
            "log": self.log,
            "missing": self.missing,
            "start": self._numbers()[0],
            "options": None if self.options is None else [pick_of(item) for item in self.options],
        }

    def _numbers(self) -> tuple[float, float]:
        """The ends of the part with values."""
        if self.missing is None:
            return self.low, self.high
        return (self.low + _GAP * self.high) / (1 + _GAP), self.high

    def _ranges(self, item: Any) -> list[list[float]]:
        """Where something that was picked stands."""
        if item is None:
            if self.missing is None:
                return []
            near = 0.25 if self.options is not None else (self._numbers()[0] - self.low) / 4
            return [[self.missing - near, self.missing + near]]
        if self.options is not None:
            places = [float(i) for i, option in enumerate(self.options) if _fits(item, option)]
            return [[place - 0.25, place + 0.25] for place in places]
        ends = item if isinstance(item, list) else [item, item]
        if not all(map(is_number, ends)):
            return []
        start, _ = self._numbers()
        low, high = (_log(_as_float(end), start) if self.log else _as_float(end) for end in ends)
        return [[max(low, start), min(high, self.high)]] if low <= self.high else []


def _fits(item: Any, option: Any) -> bool:
    """Whether an option is picked by itself or by a range."""
    if not isinstance(item, list):
        return same_key(item) == same_key(option)
    return is_number(option) and item[0] <= option <= item[1]


def _log(value: float, low: float) -> float:
    return math.log10(value) if value > 0 else low


def ticks(low: float, high: float, log: bool, count: int = 6) -> list[float]:
    """Round values from `low` to `high`: decades on a log scale, steps of 1, 2 or 5 otherwise."""
    if not low < high:
        return [low]
    if not math.isfinite(high - low):
        return [low, high]
    if log:
        return _log_ticks(low, high, count)
    step = 10.0 ** math.floor(math.log10((high - low) / count))
    for factor in (1, 2, 5, 10):
        if (high - low) / (step * factor) <= count:
            step *= factor
            break
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)] or [low, high]


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / count))
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [
            factor * 10.0**power
            for power in range(first, last + 1)
            if len(factors) > 1 or power % every == 0
            for factor in factors
            if low * (1 - 1e-9) <= factor * 10.0**power <= high * (1 + 1e-9)
        ]
        if len(found) >= 3:
            return found
    return found if len(found) >= 2 else ticks(low, high, log=False)


def labels(paths: Sequence[str], also: Sequence[str] = ()) -> list[str]:
    """For each dotted path as many of its last parts as tell it from the others, and from `also`.

    Long ones are cut in the middle, where they still differ then.
    """
    split = [path.split(".") for path in (*paths, *also)]
    found = []
    for parts in split[: len(paths)]:
        sizes = range(1, len(parts) + 1)
        alone = (n for n in sizes if sum(other[-n:] == parts[-n:] for other in split) == 1)
        found.append(".".join(parts[-next(alone, len(parts)) :]))
    cut = [short(name) for name in found]
    return [one if cut.count(one) == 1 else name for one, name in zip(cut, found, strict=True)]


def short(name: str) -> str:
    """A name in little room: its begin and its end."""
    shown = text(name, 10 * _LABEL)
    half = _LABEL // 2
    return shown if len(shown) <= _LABEL else f"{shown[: half - 1]}…{shown[-half:]}"


def make_axis(dimension: Dimension, values: Sequence[Any], label: str | None = None) -> Axis:
    """An axis for the values of all runs; None stands for a parameter that a run does not have."""
    label = text(label, _LONGEST) if label else short(dimension.path)
    present = [value for value in values if value is not None]
    numeric = bool(present) and all(
        is_number(value) and math.isfinite(_as_float(value)) for value in present
    )
    if dimension.options is not None or not numeric:
        return _categorical(label, dimension, values)
    return _numeric(label, dimension, values, [_as_float(value) for value in present])


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _numeric(label: str, dimension: Dimension, values: Sequence[Any], present: list[float]) -> Axis:
    low = min([*present, *([dimension.low] if dimension.low is not None else [])])
    high = max([*present, *([dimension.high] if dimension.high is not None else [])])
    log = dimension.log and low > 0
    marks = ticks(low, high, log)
    texts = [number(int(mark) if mark == int(mark) and abs(mark) < 1e5 else mark) for mark in marks]

    def place(value: float) -> float:
        return math.log10(value) if log else value

    start, end = place(low), place(high)
    if start == end:
        half = abs(start) * 0.05 or 0.5
        start, end = start - half, end + half
    positions = [place(mark) for mark in marks]
    missing: float | None
    if len(present) < len(values):
        missing = start - _GAP * (end - start)
        positions, texts, start = [missing, *positions], ["n/a", *texts], missing
    else:
        missing = None
    return Axis(
        label,
        [start if value is None else place(float(value)) for value in values],
        start,
        end,
        positions,
        texts,
        log,
        missing=missing,
    )


def _key(value: Any) -> str:
    return f"{type(value).__name__}:{text(value)}"


def _categorical(label: str, dimension: Dimension, values: Sequence[Any]) -> Axis:
    known = {_key(value): value for value in dimension.options or ()}
    extra = {_key(value): value for value in values if value is not None}
    kinds = {**known, **dict(sorted(extra.items()))}
    if kinds and all(is_number(value) for value in kinds.values()):
        kinds = dict(sorted(kinds.items(), key=lambda item: (item[1] != item[1], item[1])))
    places = {key: float(index) for index, key in enumerate(kinds)}
    texts = [text(value, _LABEL) or '""' for value in kinds.values()]
    positions = [places[_key(value)] if value is not None else -1.0 for value in values]
    low = 0.0
    if -1.0 in positions:
        texts, low = ["n/a", *texts], -1.0
    marks = [low + index for index in range(len(texts))]
    if len(marks) > _CATEGORIES:
        every = math.ceil(len(marks) / _CATEGORIES)
        marks, texts = marks[::every], texts[::every]
    high = max(float(len(kinds) - 1), low)
    if low == high:
        low, high = low - 0.5, high + 0.5
    missing = -1.0 if -1.0 in positions else None
    options = tuple(kinds.values())
    return Axis(label, positions, low, high, marks, texts, options=options, missing=missing)
