"""What each engine will really do with an experiment, before anything is spent.

Three engines can search: W&B's own methods, which read the native keys of the sweep; the bridge's
controller, which reads the carry, draws by the laws as they are written and hosts Ray's searchers
and schedulers; and Ray, which runs the same searchers and its own schedulers, and draws at random
and makes grids by its own generator. The translations say how things are spelled
(`tune_bridge.explain`); the tables here say what becomes of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.ray_tune.algorithms import innermost
from tune_bridge.dialects.ray_tune.conversions import conversion, domain_of
from tune_bridge.dialects.ray_tune.runs import RUNS, is_hosted, plain_part
from tune_bridge.dialects.ray_tune.tables import CLASSES
from tune_bridge.dialects.sweep.algorithms import SEARCHERS, write_early_terminate
from tune_bridge.engines.outside import CUSTOM, steered
from tune_bridge.engines.tune.schedulers import RESOURCES, needs_checkpoints
from tune_bridge.errors import InputError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment
from tune_bridge.explain import Cell, Line, explain, rungs
from tune_bridge.notes import Level, Note, Notes
from tune_bridge.space import Choice, Node, Parameter, leaves, walk

__all__ = ["ENGINES", "behaviour", "below"]

ENGINES = ("wandb", "controller", "ray")
"""W&B's own search, the bridge's controller, and ``tune-bridge run`` on Ray."""


class _Asked(NamedTuple):
    """One question: what an engine does with a line of `explain`."""

    line: Line
    experiment: Experiment
    node: Node | None

    @property
    def searcher(self) -> str:
        """The searcher that thinks."""
        return innermost(self.experiment.searcher).kind

    @property
    def hosted(self) -> bool:
        """Whether one of Ray's searchers proposes."""
        return self.searcher in CLASSES and self.searcher != RANDOM.kind


def behaviour(experiment: Experiment, engines: Sequence[str] = ENGINES) -> list[Line]:
    """Lines for all parameters, then for all settings that say something.

    Args:
        experiment: What is to be searched.
        engines: Some of `ENGINES`.

    Returns:
        Lines whose cells are by engine. `Level.EXACT` is what is written, `Level.APPROXIMATED` is
        near, and `Level.LOST` is ignored or refused; a cell's notes say why.
    """
    nodes: dict[str, Node] = {place.path: place.node for place in walk(experiment.space)}
    nodes |= {".".join(path): node for path, node in leaves(experiment.space)}
    lines = []
    for line in explain(experiment):
        setting = line.kind == "setting"
        asked = _Asked(line, experiment, None if setting else nodes.get(line.path))
        rules = _SETTINGS.get(line.path, {}) if setting else _PARAMETERS
        cells = {name: rules.get(name, _DEFAULTS[name])(asked) for name in engines}
        lines.append(msgspec.structs.replace(line, cells=cells))
    return lines


def below(lines: list[Line], level: Level) -> list[tuple[str, str, Level]]:
    """What falls below a level: path, engine and level, in order."""
    return [
        (line.path, name, cell.level)
        for line in lines
        for name, cell in line.cells.items()
        if cell.level > level
    ]


_Rule = Callable[[_Asked], Cell]


def _note(level: Level, asked: _Asked, what: str, why: str = "") -> Note:
    return Note(level, asked.line.path, what, why)


def _with(cell: Cell, *notes: Note) -> Cell:
    """A cell with further notes, and the worst of the levels."""
    found = (*cell.notes, *(note for note in notes if note.what))
    level = max((note.level for note in found), default=cell.level)
    return Cell(cell.text, max(level, cell.level), found)


def _native(cell: Cell) -> Cell:
    """A cell of the sweep as somebody has it who does not read the carry."""
    notes = tuple(
        msgspec.structs.replace(note, level=Level.APPROXIMATED)
        if note.level is Level.CARRIED
        else note
        for note in cell.notes
    )
    return Cell(cell.text, max((note.level for note in notes), default=cell.level), notes)


# Parameters ---------------------------------------------------------------------------------------


def _wandb_parameter(asked: _Asked) -> Cell:
    cell = _native(asked.line.cells["sweep"])
    node = asked.node
    if asked.line.condition and cell.text:
        text = "W&B draws it in every run, whatever the selector says"
        return _with(cell, _note(Level.APPROXIMATED, asked, text))
    if not isinstance(node, Choice) or not node.plain:
        return cell
    values = node.values()
    if node.grid and len({repr(value) for value in values}) < len(values):
        text = "W&B runs a value that stands twice once"
        return _with(cell, _note(Level.APPROXIMATED, asked, text))
    if cell.text and SEARCHERS.get(asked.searcher) == "bayes" and len(values) > 2:
        text = "W&B's Gaussian process takes the options for neighbours in their order"
        return _with(cell, _note(Level.EXACT, asked, text))
    return cell


def _controller_parameter(asked: _Asked) -> Cell:
    cells = asked.line.cells
    text = next(cells[name].text for name in ("sweep", "tune", "hyperopt") if cells[name].text)
    notes = []
    if isinstance(asked.node, Choice) and not asked.node.plain:
        notes.append(_note(Level.EXACT, asked, "the active branch alone is drawn"))
    if asked.hosted:
        notes += _mended(asked)
    return Cell(text, Level.EXACT, tuple(notes))


def _mended(asked: _Asked) -> list[Note]:
    """What is better than in the program that ``convert --to tune`` writes."""
    function, bracket, _ = asked.line.cells["tune"].text.partition("(")
    if not bracket or not isinstance(asked.node, Parameter | Choice) or function.startswith("hp."):
        return []
    made = conversion(asked.searcher, domain_of(function, asked.node))
    if not made.what:
        return []
    what = f"searched as it is written; a program of convert --to tune: {made.what}"
    return [_note(Level.EXACT, asked, what)]


def _ray_parameter(asked: _Asked) -> Cell:
    return (_controller_parameter if is_hosted(asked.experiment) else _converted)(asked)


def _converted(asked: _Asked) -> Cell:
    """What Ray's generator makes of the call that it is given."""
    cell = asked.line.cells["tune"]
    function, bracket, _ = cell.text.partition("(")
    if not bracket or not isinstance(asked.node, Parameter | Choice) or function.startswith("hp."):
        return cell
    made = conversion(asked.searcher, domain_of(function, asked.node))
    notes = cell.notes
    if made.level is Level.LOST:
        # The remark that tune_bridge has a domain for this law would promise too much.
        notes = tuple(note for note in notes if note.level is not Level.EXACT)
    return _with(
        Cell(cell.text, cell.level, notes),
        _note(made.level, asked, f"{asked.searcher}: {made.what}" if made.what else ""),
    )


_PARAMETERS: dict[str, _Rule] = {
    "wandb": _wandb_parameter,
    "controller": _controller_parameter,
    "ray": _ray_parameter,
}

# Settings -----------------------------------------------------------------------------------------


def _says(level: Level, what: str, why: str = "") -> _Rule:
    """A rule that is a sentence; the text is Tune's, or the sweep's where that says it."""

    def rule(asked: _Asked) -> Cell:
        cells = asked.line.cells
        text = "" if level is Level.LOST else cells["tune"].text or cells["sweep"].text
        return Cell(text, level, (_note(level, asked, what, why),))

    return rule


def _as_written(asked: _Asked) -> Cell:
    cells = asked.line.cells
    return Cell(cells["sweep"].text or cells["tune"].text)


def _ignored(why: str) -> _Rule:
    return _says(Level.LOST, "ignored", why)


_NO_LIMITS = "a run ends when its program does, or by early_terminate"


def _wandb_searcher(asked: _Asked) -> Cell:
    return _native(asked.line.cells["sweep"])


def _controller_searcher(asked: _Asked) -> Cell:
    kind = asked.searcher
    whose = steered(asked.experiment)
    if kind == "custom" and whose == CUSTOM:
        why = "method custom means that somebody else proposes"
        return _says(Level.LOST, "nothing is proposed", why)(asked)
    if whose:
        return _says(Level.EXACT, f"{whose} proposes, agents wait for it")(asked)
    if asked.hosted:
        whose = "ours" if kind == "SkOptSearch" else "Ray's own, without a Ray session"
        return _says(Level.EXACT, f"{kind}: {whose}")(asked)
    if kind == "bayes":
        what = "a Gaussian process over all parameters, as W&B's"
    elif asked.experiment.is_grid:
        what = "the grid is enumerated, the last name (sorted) fastest, as by W&B"
    else:
        what = "drawn by the laws as they are written"
    return Cell(asked.line.cells["sweep"].text, Level.EXACT, (_note(Level.EXACT, asked, what),))


def _ray_searcher(asked: _Asked) -> Cell:
    if asked.searcher == "custom":
        return _controller_searcher(asked)
    why = RUNS.get(asked.searcher, "") or _refusal(asked.experiment)
    if why:
        return _with(asked.line.cells["tune"], _note(Level.LOST, asked, "refused", why))
    if not is_hosted(asked.experiment):
        return asked.line.cells["tune"]
    return _controller_searcher(asked)


def _refusal(experiment: Experiment) -> str:
    """Why Ray cannot be given the experiment as a whole; empty when it can."""
    try:
        get_dialect("tune").write(plain_part(experiment))
    except InputError as error:
        return str(error)
    return ""


def _wandb_scheduler(asked: _Asked) -> Cell:
    cell = _native(asked.line.cells["sweep"])
    if not cell.text:
        return _with(cell, _note(Level.LOST, asked, "ignored: every run goes on to its end"))
    bands = _wandb_bands(asked.experiment)
    note = _note(
        Level.EXACT,
        asked,
        f"bands at {_shown(bands)}" if bands else "no band: nothing is stopped",
        "counted in reports of the metric from 0, so that a run is judged with its next report",
    )
    return Cell(cell.text, cell.level, (note, *cell.notes))


def _wandb_bands(experiment: Experiment) -> list[int]:
    """The bands of the ``early_terminate`` that a scheduler is written as."""
    try:
        spec = write_early_terminate(experiment, Notes()) or {}
    except InputError:
        return []
    args = {key: value for key, value in spec.items() if key != "type"}
    return rungs(Algorithm.of("hyperband", **args)) or []


def _judges(asked: _Asked) -> tuple[Note, ...]:
    """The rungs of a scheduler of Tune's, and what they are counted in."""
    scheduler = asked.experiment.scheduler
    found = None if scheduler is None else rungs(scheduler)
    if scheduler is None or found is None:
        return ()
    clock = scheduler.arg("time_attr", "training_iteration")
    return (_note(Level.EXACT, asked, f"rungs at {_shown(found)}", f"counted in {clock}"),)


def _controller_scheduler(asked: _Asked) -> Cell:
    cell = _decides(asked, on_ray=False)
    scheduler = asked.experiment.scheduler
    if scheduler is None or scheduler.kind != "ResourceChangingScheduler":
        return cell
    return _with(cell, _note(Level.APPROXIMATED, asked, RESOURCES))


def _decides(asked: _Asked, *, on_ray: bool) -> Cell:
    """What a scheduler decides, and what programs have to do for it."""
    scheduler = asked.experiment.scheduler
    if scheduler is not None and scheduler.kind == "hyperband":
        return _wandb_scheduler(asked)
    needs = needs_checkpoints(scheduler, on_ray=on_ray)
    saves = f"programs have to save checkpoints: {needs}" if needs else ""
    notes = (*_judges(asked), _note(Level.EXACT, asked, saves))
    return _with(Cell(asked.line.cells["tune"].text), *notes)


def _ray_scheduler(asked: _Asked) -> Cell:
    scheduler = asked.experiment.scheduler
    why = "" if scheduler is None else RUNS.get(scheduler.kind, "")
    if why:
        return _with(asked.line.cells["tune"], _note(Level.LOST, asked, "refused", why))
    return _decides(asked, on_ray=True)


def _shown(found: Sequence[int]) -> str:
    text = ", ".join(map(str, found[:6]))
    return f"{text}, ..." if len(found) > 6 else text or "none"


def _wandb_objective(asked: _Asked) -> Cell:
    cell = _native(asked.line.cells["sweep"])
    objective = asked.experiment.objective
    notes = []
    if objective is not None and objective.options.value.get("impute"):
        bayes = SEARCHERS.get(asked.searcher) == "bayes"
        what = (
            "impute: failed runs get a value for the Gaussian process"
            if bayes
            else "impute: only method bayes uses it"
        )
        notes.append(_note(Level.EXACT, asked, what))
    if objective is not None and objective.target is not None:
        notes.append(_note(Level.EXACT, asked, f"a run at {objective.target:g} ends the sweep"))
    return _with(cell, *notes)


def _our_objective(asked: _Asked) -> Cell:
    objective = asked.experiment.objective
    notes = []
    if objective is not None and objective.target is not None:
        notes.append(_note(Level.EXACT, asked, f"a run at {objective.target:g} ends the sweep"))
    text = asked.line.cells["sweep"].text or asked.line.cells["tune"].text
    return _with(Cell(text), *notes)


def _ray_objective(asked: _Asked) -> Cell:
    objective = asked.experiment.objective
    cell = _our_objective(asked)
    if objective is None or not objective.options:
        return cell
    names = ", ".join(map(str, objective.options.value))
    return _with(cell, _note(Level.APPROXIMATED, asked, f"{names}: left out", "W&B's words"))


def _wandb_count(asked: _Asked) -> Cell:
    cell = asked.line.cells["sweep"]
    if cell.text:
        return _native(cell)
    grid = asked.experiment.is_grid
    what = "the whole grid" if grid else "runs until somebody stops the sweep"
    return _with(_native(cell), _note(Level.EXACT, asked, what))


_SETTINGS: dict[str, dict[str, _Rule]] = {
    "searcher": {
        "wandb": _wandb_searcher,
        "controller": _controller_searcher,
        "ray": _ray_searcher,
    },
    "scheduler": {
        "wandb": _wandb_scheduler,
        "controller": _controller_scheduler,
        "ray": _ray_scheduler,
    },
    "objective": {
        "wandb": _wandb_objective,
        "controller": _our_objective,
        "ray": _ray_objective,
    },
    "num_samples": {"wandb": _wandb_count},
    "trainable": {
        "wandb": _ignored("agents start programs; give wandb.agent the function by hand"),
        "controller": _ignored("agents start programs; give the agent the function by hand"),
    },
    "stop": {"wandb": _ignored(_NO_LIMITS)},
    "points": {"wandb": _ignored("W&B begins with configurations of its own")},
    "seed": {"wandb": _ignored("W&B's methods take no seed")},
    "max_concurrent": {"wandb": _ignored("as many runs as there are agents")},
    "resources": {
        "wandb": _ignored("W&B does not place runs; an agent has its machine"),
        "controller": _ignored("agents do not place runs; each has its machine"),
    },
}
"""Setting -> engine -> what it does; what is absent is done as it is written, or as Ray's
translation says."""


def _ray_default(asked: _Asked) -> Cell:
    """What the call says; the runner itself sees to what Tune has no word for."""
    cell = asked.line.cells["tune"]
    if asked.line.path in _SEEN_TO:
        return Cell(cell.text or asked.line.cells["sweep"].text)
    return cell


_SEEN_TO = ("program", "command", "project", "entity", "description", "run_cap")
"""What ``tune-bridge run`` does itself, or keeps with the sweep."""

_DEFAULTS: dict[str, _Rule] = {
    "wandb": lambda asked: _native(asked.line.cells["sweep"]),
    "controller": _as_written,
    "ray": _ray_default,
}
