"""What each side makes of an experiment: one line per parameter and setting, how exact, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import Call
from tune_bridge.dialects.hyperopt.writer import write_node as hyperopt_node
from tune_bridge.dialects.ray_tune.domains import write_node as tune_node
from tune_bridge.dialects.sweep.conditions import branch_names
from tune_bridge.dialects.sweep.distributions import write_parameter
from tune_bridge.errors import InputError
from tune_bridge.experiment import Algorithm, Experiment
from tune_bridge.notes import Level, Note, Notes
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Node,
    Operation,
    Parameter,
    Place,
    Sequence,
    leaves,
    walk,
)

__all__ = ["NOTATIONS", "Cell", "Line", "explain", "rungs"]

NOTATIONS = ("sweep", "tune", "hyperopt")
"""The notations that are explained."""


class Cell(msgspec.Struct, frozen=True):
    """What one notation makes of one thing.

    Attributes:
        text: How it is spelled there; empty when there is no word for it.
        level: How much of the meaning arrives.
        notes: What the translation had to say.
    """

    text: str
    level: Level = Level.EXACT
    notes: tuple[Note, ...] = ()


class Line(msgspec.Struct, frozen=True):
    """One parameter or setting.

    Attributes:
        path: Dotted path of a parameter, or the name of a setting.
        kind: "parameter", "constant" or "setting".
        cells: By notation; a notation that has nothing to do with it is absent.
        condition: For what is drawn in some branches only: which ones.
    """

    path: str
    kind: str
    cells: dict[str, Cell]
    condition: str = ""

    @property
    def level(self) -> Level:
        """The worst level of all cells."""
        return max((cell.level for cell in self.cells.values()), default=Level.EXACT)

    def as_dict(self) -> dict[str, Any]:
        """The line as JSON-able data."""
        return {
            "path": self.path,
            "kind": self.kind,
            **({"condition": self.condition} if self.condition else {}),
            **{
                name: {
                    "text": cell.text,
                    "level": cell.level.label,
                    "notes": [note.as_dict() for note in cell.notes],
                }
                for name, cell in self.cells.items()
            },
        }


def explain(experiment: Experiment) -> list[Line]:
    """Lines for all parameters, in order, then for all settings that say something.

    What is drawn inside of a condition or a list follows it, with a path that has the option's or
    item's number in brackets.
    """
    lines: list[Line] = []
    for path, node in leaves(experiment.space):
        lines.append(_parameter(experiment, path, node))
        lines += _inner(lines[-1], node)
    return lines + _settings(experiment)


# Parameters ---------------------------------------------------------------------------------------


def _parameter(experiment: Experiment, path: tuple[str, ...], node: Node) -> Line:
    """Each parameter is translated alone, so that one that is refused does not hide the others."""
    space: Node = node
    for name in reversed(path):
        space = Group(((name, space),))
    alone = Experiment(
        space=space if isinstance(space, Group) else Group(),
        objective=experiment.objective,
        searcher=experiment.searcher,
        space_in=experiment.space_in,
    )
    constant = isinstance(node, Constant)
    cells = {name: _cell(name, alone, path, node) for name in NOTATIONS}
    return Line(".".join(path), "constant" if constant else "parameter", cells)


def _inner(line: Line, leaf: Node) -> Iterator[Line]:
    """Lines for what is drawn inside of a leaf, which was translated as a whole."""
    names: dict[str, list[str]] = {}
    for place in walk(leaf, line.path):
        node = place.node
        if isinstance(node, Choice) and not node.plain:
            names[place.path] = branch_names(node)[1]
        if not isinstance(node, Parameter | Choice) or place.path == line.path:
            continue
        cells = {name: _inner_cell(name, cell, place) for name, cell in line.cells.items()}
        condition = " and ".join(f"{path} is {names[path][i]}" for path, i in place.conditions)
        yield Line(place.path, "parameter", cells, condition)
    if _is_nested(leaf):
        for name, cell in line.cells.items():
            own = tuple(note for note in cell.notes if "[" not in note.path) or cell.notes
            line.cells[name] = msgspec.structs.replace(cell, notes=own)


def _inner_cell(name: str, whole: Cell, place: Place) -> Cell:
    if not whole.text:
        return whole
    own = [note for note in whole.notes if _plain_path(note) == place.path]
    if name == "sweep":
        text = _entry_text(write_parameter(place.node, place.path, Notes()), place.node)
    elif name == "hyperopt" or "hp." in whole.text:
        text = _short(hyperopt_node(place.node, place.path, Notes()), 80)
    else:
        text = _short(tune_node(place.node, place.path, Notes()), 80)
    return Cell(text, max((note.level for note in own), default=Level.EXACT), tuple(own))


def _is_nested(node: Node) -> bool:
    nested = isinstance(node, Sequence | Operation)
    return nested or (isinstance(node, Choice) and not node.plain)


def _cell(name: str, alone: Experiment, path: tuple[str, ...], node: Node) -> Cell:
    if name == "sweep" and alone.objective is None:
        # The parameter is judged here, not the missing metric; that has a line of its own.
        alone = alone.replace(searcher=Experiment(space=alone.space).searcher)
    try:
        written = get_dialect(name).write(alone)
    except InputError as error:
        return _refused(error)
    own = [note for note in written.notes if _about(note, path)]
    text = _TEXTS[name](written.value, path, node)
    return Cell(text, max((note.level for note in own), default=Level.EXACT), tuple(own))


def _refused(error: InputError) -> Cell:
    note = Note(Level.LOST, error.path, error.message, error.expected, error.hint)
    return Cell("", Level.LOST, (note,))


def _about(note: Note, path: tuple[str, ...]) -> bool:
    return _plain_path(note).split("[")[0] == ".".join(path)


def _plain_path(note: Note) -> str:
    for prefix in ("parameters.", "config.", "space."):
        if note.path.startswith(prefix):
            return note.path.removeprefix(prefix)
    return note.path


def _sweep_text(config: Any, path: tuple[str, ...], node: Node) -> str:
    entry: Any = config
    for name in path:
        entry = entry["parameters"][name]
    return _entry_text(entry, node)


def _entry_text(entry: Mapping[str, Any], node: Node) -> str:
    if isinstance(node, Choice) and "parameters" in entry:
        selector, names = branch_names(node)
        return f"nested, {selector} {_short(names)}"
    if "parameters" in entry:
        return f"nested, {', '.join(entry['parameters'])}"
    if "value" in entry:
        return f"value {_short(entry['value'])}"
    words = [str(entry["distribution"])]
    if "values" in entry:
        words.append(_short(entry["values"]))
    if "min" in entry:
        words.append(f"{_short(entry['min'])} to {_short(entry['max'])}")
    words += [f"{k} {_short(entry[k])}" for k in ("mu", "sigma", "a", "b", "q") if k in entry]
    if "probabilities" in entry:
        words.append("weighted")
    return " ".join(words)


def _tune_text(call: Call, path: tuple[str, ...], node: Node) -> str:
    for holder in (call.arguments.get("config"), _searcher_space(call)):
        found = _descend(holder, path)
        if found is not None:
            return _short(found[0], 80)
    return ""


def _searcher_space(call: Call) -> Any:
    searcher = call.arguments.get("search_alg")
    while isinstance(searcher, Call) and "searcher" in searcher.arguments:
        searcher = searcher.arguments["searcher"]
    return searcher.arguments.get("space") if isinstance(searcher, Call) else None


def _hyperopt_text(space: Any, path: tuple[str, ...], node: Node) -> str:
    found = _descend(space, path)
    return _short(found[0], 80) if found is not None else ""


def _descend(tree: Any, path: tuple[str, ...]) -> tuple[Any] | None:
    for name in path:
        if not isinstance(tree, Mapping) or name not in tree:
            return None
        tree = tree[name]
    return (tree,)


_TEXTS = {"sweep": _sweep_text, "tune": _tune_text, "hyperopt": _hyperopt_text}


def _short(value: Any, width: int = 44) -> str:
    text = f"{value:g}" if isinstance(value, float) and value != int(value) else repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."


# Settings -----------------------------------------------------------------------------------------

_SETTINGS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("program", ("program",), ("run_or_experiment",)),
    ("trainable", ("trainable",), ("run_or_experiment",)),
    ("command", ("command",), ("command",)),
    ("searcher", ("method",), ("search_alg",)),
    ("scheduler", ("early_terminate",), ("scheduler",)),
    ("objective", ("metric",), ("metric", "mode")),
    ("num_samples", ("run_cap",), ("num_samples",)),
    ("run_cap", ("run_cap",), ("run_cap",)),
    ("stop", ("stop",), ("stop",)),
    ("points", ("points_to_evaluate",), ("points_to_evaluate",)),
    ("seed", ("seed",), ("seed",)),
    ("max_concurrent", ("max_concurrent_trials",), ("max_concurrent_trials",)),
    ("resources", ("resources_per_trial",), ("resources_per_trial",)),
    ("name", ("name",), ("name",)),
    ("description", ("description",), ("description",)),
    ("project", ("project",), ("project",)),
    ("entity", ("entity",), ("entity",)),
)
"""Attribute of the experiment -> keys of a sweep, arguments of Tune."""

_DEFAULT = Experiment(space=Group())


def _settings(experiment: Experiment) -> list[Line]:
    sweep, sweep_notes = _whole("sweep", experiment)
    tune, tune_notes = _whole("tune", experiment)
    arguments = tune.arguments if isinstance(tune, Call) else {}
    lines = []
    for attribute, keys, names in _SETTINGS:
        value = getattr(experiment, attribute)
        if value == getattr(_DEFAULT, attribute) and attribute not in ("searcher", "num_samples"):
            continue
        cells = {
            "sweep": _setting_cell(sweep, keys, sweep_notes, attribute),
            "tune": _setting_cell(arguments, names, tune_notes, attribute),
        }
        if attribute == "scheduler" and isinstance(value, Algorithm) and rungs(value) is not None:
            note = Note(Level.EXACT, "scheduler", f"rungs at {_rung_text(value)}")
            cells["tune"] = msgspec.structs.replace(
                cells["tune"], notes=(note, *cells["tune"].notes)
            )
        lines.append(Line(attribute, "setting", cells))
    return lines


def _whole(name: str, experiment: Experiment) -> tuple[Any, list[Note]]:
    try:
        written = get_dialect(name).write(experiment)
    except InputError as error:
        return {}, [*_refused(error).notes]
    return written.value, list(written.notes)


def _setting_cell(
    mapping: Mapping[str, Any], keys: tuple[str, ...], notes: list[Note], attribute: str
) -> Cell:
    own = [n for n in notes if n.path.split(".")[0] in (*keys, attribute) and n.path]
    text = " ".join(f"{key}: {_value_text(mapping[key])}" for key in keys if key in mapping)
    return Cell(text, max((note.level for note in own), default=Level.EXACT), tuple(own))


def _value_text(value: Any) -> str:
    if isinstance(value, Call):
        shown = {k: v for k, v in value.arguments.items() if k not in ("space", "config")}
        return f"{value.name}({', '.join(f'{k}={_short(v)}' for k, v in shown.items())})"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    return value if isinstance(value, str) else _short(value)


def rungs(scheduler: Algorithm) -> list[int] | None:
    """Iterations at which a scheduler judges, ascending; None for one without rungs.

    For AsyncHyperBand ``grace_period * reduction_factor ** k``, as many as Ray makes: it counts
    them with logarithms of floats, which loses the top rung of 1 to 243 by 3 and of 1 to 1000 by
    10. A trial ends at ``max_t`` all the same. Further brackets begin one rung higher each and add
    none. For HyperBand the milestones of all its brackets (``_Bracket.successive_halving``). For
    W&B's hyperband ``min_iter * eta ** k`` (the first ten, there is no end) or
    ``max_iter / eta ** k`` for k up to s.
    """
    ray = {
        "AsyncHyperBandScheduler": _asha_rungs,
        "HyperBandScheduler": _hyperband_rungs,
        "HyperBandForBOHB": _hyperband_rungs,
    }.get(scheduler.kind)
    if ray is not None:
        return ray(scheduler)
    if scheduler.kind != "hyperband":
        return None
    eta = scheduler.arg("eta", 3)
    if scheduler.arg("max_iter") is not None and scheduler.arg("s") is not None:
        bands = [int(scheduler.arg("max_iter") / eta**k) for k in range(1, scheduler.arg("s") + 1)]
        return sorted({band for band in bands if band >= 1})
    return [int(scheduler.arg("min_iter") * eta**k) for k in range(10)]


def _asha_rungs(scheduler: Algorithm) -> list[int]:
    first, factor = scheduler.arg("grace_period", 1), scheduler.arg("reduction_factor", 4)
    count = int(math.log(scheduler.arg("max_t", 100) / first) / math.log(factor) + 1)
    return [int(first * factor**k) for k in range(min(count, 1000))]


def _hyperband_rungs(scheduler: Algorithm) -> list[int]:
    most, factor = scheduler.arg("max_t", 81), scheduler.arg("reduction_factor", 3)
    found = set()
    for halvings in range(round(math.log(most) / math.log(factor)) + 1):
        rung = int(most * factor**-halvings)
        for _ in range(halvings + 1 if rung else 0):
            found.add(rung)
            rung = int(min(rung * factor, most))
    return sorted(found)


def _rung_text(scheduler: Algorithm) -> str:
    found = rungs(scheduler) or []
    text = ", ".join(map(str, found[:6]))
    return f"{text}, ..." if len(found) > 6 else text
