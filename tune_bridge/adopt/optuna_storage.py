"""Optuna's storages: SQLite files and journal files.

Optuna itself reads them, and never the file that somebody has: a SQLite file is copied first
(Optuna makes tables and upgrades schemas where it opens one), and a journal is given to it line by
line.
Neither holds a pickle: values, distributions and attributes are JSON in both (Optuna pickles only
the snapshots that a Redis journal keeps, which is none of these).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tune_bridge.adopt.inference import conditions, nested
from tune_bridge.adopt.json_lines import read_lines
from tune_bridge.adopt.model import QUIET, Found, FoundRun, Wishes, in_order
from tune_bridge.backends.base import Row, RunState
from tune_bridge.dialects.flat_conditions import Name
from tune_bridge.dialects.optuna import OptunaDialect
from tune_bridge.dialects.optuna_function import DefineByRun
from tune_bridge.errors import InputError, MissingExtraError, NotFoundError
from tune_bridge.experiment import Objective
from tune_bridge.notes import Notes
from tune_bridge.space import Group

__all__ = ["is_database", "is_journal", "read_database", "read_journal"]

_TABLES = {"studies", "trials"}
_STATES: dict[str, RunState] = {
    "COMPLETE": "finished",
    "PRUNED": "finished",
    "FAIL": "failed",
    "RUNNING": "running",
}
_NUMBERS = ("low", "high", "step")
_BLOCK = 200  # trials
_Trials = Callable[[int], list[Any]]
"""The trials of a study, by its id."""


def is_database(path: Path) -> bool:
    """Whether a file is a SQLite file with Optuna's tables."""
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            return False
    with contextlib.closing(_connect(path)) as connection:
        try:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name for (name,) in rows} >= _TABLES
        except sqlite3.Error as error:
            raise InputError(f"cannot be read: {error}", source=str(path)) from None


def is_journal(path: Path) -> bool:
    """Whether a file is a journal: lines of JSON that each name an operation."""
    with path.open("rb") as file:
        line = file.readline(100_000)
    with contextlib.suppress(ValueError, RecursionError):
        first = json.loads(line)
        return isinstance(first, dict) and "op_code" in first
    return False


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise InputError(f"cannot be read: {error}", source=str(path)) from None


def read_database(path: Path, wishes: Wishes, study: str | None = None) -> list[Found]:
    """The studies of a SQLite file.

    Raises:
        InputError: It cannot be read.
        NotFoundError: It holds no such study.
        MissingExtraError: Optuna is not installed.
    """
    _optuna()
    from optuna.storages import RDBStorage

    with tempfile.TemporaryDirectory(prefix="tune-bridge-") as folder:
        copy = Path(folder) / "copy.db"
        try:
            with (
                contextlib.closing(_connect(path)) as source,
                contextlib.closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
            storage = RDBStorage(f"sqlite:///{copy}", skip_compatibility_check=True)
            try:
                if storage.get_current_version() != storage.get_head_version():
                    storage.upgrade()
                return _studies(storage, path, wishes, study, _Blocks(storage, copy))
            finally:
                storage.engine.dispose()
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a broken file causes
            raise InputError(
                f"Optuna cannot read it: {type(error).__name__}: {str(error).splitlines()[0]}",
                source=str(path),
            ) from None


def read_journal(path: Path, wishes: Wishes, study: str | None = None) -> list[Found]:
    """The studies of a journal file.

    Raises:
        InputError: A line of it is broken; with line and column.
        NotFoundError: It holds no such study.
        MissingExtraError: Optuna is not installed.
    """
    _optuna()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import BaseJournalBackend

    notes = Notes()

    class Reader(BaseJournalBackend):
        def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
            if log_number_from == 0:
                yield from read_lines(path, notes)

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            raise InputError("a journal that is read is not written to", source=str(path))

    try:
        storage = JournalStorage(Reader())
        found = _studies(
            storage, path, wishes, study, lambda id_: storage.get_all_trials(id_, deepcopy=False)
        )
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a broken file causes
        raise InputError(
            f"Optuna cannot read it: {type(error).__name__}: {error}", source=str(path)
        ) from None
    for each in found:
        each.notes.extend(notes)
    return found


def _optuna() -> None:
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("optuna", "optuna", "reading a storage of Optuna") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)


class _Blocks:
    """Reads the trials of a study, some hundred at a time.

    For each trial, and each of its values, Optuna makes an object of SQLAlchemy first, which is
    ten times as large; all of a study are alive at the same time where it reads them together.

    Args:
        storage: Optuna's.
        path: The file that it has open.
    """

    def __init__(self, storage: Any, path: Path) -> None:
        self._storage, self._path = storage, path

    def __call__(self, study_id: int) -> list[Any]:
        with contextlib.closing(_connect(self._path)) as connection:
            rows = connection.execute(
                "SELECT trial_id FROM trials WHERE study_id = ? ORDER BY trial_id", (study_id,)
            )
            ids = [trial_id for (trial_id,) in rows]
        found: list[Any] = []
        for begin in range(0, len(ids), _BLOCK):
            block = set(ids[begin : begin + _BLOCK])
            found += self._storage._get_trials(study_id, None, block, ids[-1])
        return found


def _studies(
    storage: Any, path: Path, wishes: Wishes, wanted: str | None, trials: _Trials
) -> list[Found]:
    studies = storage.get_all_studies()
    chosen = [s for s in studies if wanted is None or s.study_name == wanted]
    if not chosen:
        raise NotFoundError(
            "no such study" if wanted else "it holds no study",
            source=str(path),
            found=repr(wanted) if wanted else "",
            expected=", ".join(s.study_name for s in studies[:8]),
        )
    age = wishes.now - path.stat().st_mtime
    found = [_study(trials(study._study_id), study, path, wishes, age) for study in chosen]
    kept = [each for each in found if each.runs]
    if not kept:
        raise InputError("no trial of it has begun", source=str(path))
    return kept


def _study(trials: list[Any], study: Any, path: Path, wishes: Wishes, age: float) -> Found:
    notes = Notes()
    begun = [trial for trial in trials if trial.state.name in _STATES]
    objectives = _objectives(study, wishes)
    space = _space(begun, notes)
    return Found(
        kind="Optuna study",
        where=str(path) + f"#{study.study_name}",
        identity=f"optuna/{path.resolve()}/{study.study_name}",
        name=study.study_name,
        runs=in_order(_run(trial, study, space, objectives, age) for trial in begun),
        space=space,
        exact=True,
        notes=notes,
        objectives=objectives,
        searcher="OptunaSearch",
        waiting=len(trials) - len(begun),
    )


def _objectives(study: Any, wishes: Wishes) -> list[Objective]:
    named = study.system_attrs.get("study:metric_names")
    directions = [direction.name.lower() for direction in study.directions]
    if len(directions) == 1:
        names = [wishes.metric or (named[0] if named else "value")]
    else:
        names = named or [f"values_{index}" for index in range(len(directions))]
    return [
        Objective(name, "maximize" if direction == "maximize" else "minimize")
        for name, direction in zip(names, directions, strict=True)
    ]


def _space(trials: Sequence[Any], notes: Notes) -> Group:
    """The space by the distributions of the trials, which need not be the same in all."""
    specs: dict[str, dict[str, Any]] = {}
    from optuna.distributions import distribution_to_json

    seen: dict[int, dict[str, Any]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            key = hash(repr(distribution))
            if key not in seen:
                seen[key] = json.loads(distribution_to_json(distribution))
            specs[name] = _united(name, specs.get(name), seen[key], notes)
    dialect = OptunaDialect()
    # One that failed, or runs, may not have come to all of its parameters.
    complete = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")] or trials
    values = [{_name(name): value for name, value in t.params.items()} for t in complete]
    nodes = {_name(name): dialect.node(spec, name, Notes()) for name, spec in specs.items()}
    when = conditions(values, nodes, notes)
    rows = [(name, spec, when.get(_name(name), {})) for name, spec in specs.items()]
    return dialect.read(DefineByRun(rows), notes).value.space


def _name(name: str) -> Name:
    return tuple(name.split("/"))


def _united(
    name: str, old: dict[str, Any] | None, new: dict[str, Any], notes: Notes
) -> dict[str, Any]:
    """One distribution for a parameter whose bounds were others in other trials."""
    if old is None or old == new:
        return new
    one, other = old["attributes"], new["attributes"]
    if old["name"] != new["name"] or "choices" in other or one["log"] != other["log"]:
        notes.approximated(f"parameters.{name}", "the last one of several distributions")
        return new
    both = {"low": min(one["low"], other["low"]), "high": max(one["high"], other["high"])}
    if both != {"low": one["low"], "high": one["high"]}:
        notes.approximated(
            f"parameters.{name}",
            f"from {both['low']:g} to {both['high']:g}",
            "the bounds of all trials together: they were not always the same",
        )
    return {**new, "attributes": {**other, **both}}


def _run(
    trial: Any, study: Any, space: Group, objectives: Sequence[Objective], age: float
) -> FoundRun:
    begun = trial.datetime_start or trial.datetime_complete
    created = begun.timestamp() if begun else 0.0
    ended = trial.datetime_complete.timestamp() if trial.datetime_complete else None
    state, message = _STATES[trial.state.name], ""
    if state == "running" and age > QUIET:
        state, ended = "crashed", created
        message = "it was running when its study was left"
    pruned = trial.state.name == "PRUNED"
    values = dict(zip([o.name for o in objectives], trial.values or (), strict=False))
    about = {"number": trial.number}
    attributes = dict(trial.user_attrs)
    return FoundRun(
        key=str(trial.number),
        name=f"{study.study_name}-{trial.number}",
        state=state,
        config=nested(space, {_name(name): value for name, value in trial.params.items()}),
        created_at=created,
        started_at=created,
        ended_at=ended,
        stopped_early=pruned,
        message="pruned" if pruned else message,
        summary=values if trial.state.name == "COMPLETE" else {},
        meta={**about, "user_attrs": attributes} if attributes else about,
        rows=_Rows(trial, objectives, values, created, ended),
    )


class _Rows:
    """The history of a trial: its intermediate values, or its values alone.

    They have no times of their own; they are spread evenly over the trial's.
    """

    def __init__(
        self,
        trial: Any,
        objectives: Sequence[Objective],
        values: dict[str, Any],
        begun: float,
        ended: float | None,
    ) -> None:
        self._trial, self._values = trial, values
        self._metric = objectives[0].name
        self._begun, self._took = begun, (ended or begun) - begun

    def __call__(self, notes: Notes) -> Iterator[Row]:
        steps = sorted(self._trial.intermediate_values.items())
        for number, (step, value) in enumerate(steps):
            when = self._begun + self._took * (number + 1) / len(steps)
            yield Row(number, when, {self._metric: value, "training_iteration": step})
        if not steps and self._values:
            yield Row(0, self._begun + self._took, dict(self._values))
