"""Ray Tune's results folders, of Ray 2 and Ray 1.

An experiment is a folder with ``experiment_state-<time>.json`` and one folder for each trial, with
``params.json``, ``result.json`` (a line for each result) and ``error.txt``. What is read of it was
the same since Ray 0.8 (``ray.tune.logger.JsonLogger``), except for the trials in the state:

* Ray 2 (``ray.tune.execution.tune_controller.TuneController.save_to_dir``): ``trial_data``, a list
  of pairs of JSON texts, the trial and its run data; the folder is ``relative_logdir``.
* Ray 1 (``ray.tune.trial_runner._ExperimentCheckpointManager.checkpoint``): ``checkpoints``, a list
  of JSON texts (before 1.0 of objects); the folder is ``logdir``, absolute, and later
  ``relative_logdir``.

What JSON cannot say stands there as hex-encoded pickles, and so do ``params.pkl``, ``tuner.pkl``
and the searcher's state. None of them is opened: reading one would run whatever it says. So the
search space, the searcher, the scheduler and the goal of the metric are not known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tune_bridge.adopt.inference import flat, infer, nested
from tune_bridge.adopt.json_lines import read_json, read_lines
from tune_bridge.adopt.model import QUIET, Found, FoundRun, Wishes, in_order
from tune_bridge.adopt.scalars import scalars
from tune_bridge.backends.base import Row, RunState
from tune_bridge.errors import InputError
from tune_bridge.notes import Notes
from tune_bridge.tune_observer import _NOISE, plain_config

__all__ = ["is_experiment", "read"]

_TRIAL = ("params.json", "result.json")
_STATES: dict[str, RunState] = {
    "TERMINATED": "finished",
    "ERROR": "failed",
    "RUNNING": "running",
    "PAUSED": "running",
    "PENDING": "running",
}
_ASKED = (
    *("trial_id", "status", "start_time", "last_result", "config"),
    *("trainable_name", "experiment_tag", "relative_logdir", "logdir"),
)
_MESSAGE = 8000  # characters of an error that are kept, the last ones
_BLOB = "CLOUDPICKLE_FALLBACK"
_IN_NAME = re.compile(r"(?:^|_)([0-9a-f]{5,8}_\d{5}|[0-9a-f]{8})(?:_|$)")
"""A trial's id in the name of its folder: ``train_<id>_1_lr=0.1_2021-...``."""


def is_experiment(path: Path) -> bool:
    """Whether a folder is an experiment, or one of its trials."""
    return bool(_states(path)) or _is_trial(path) or any(map(_is_trial, _folders(path)))


def _is_trial(path: Path) -> bool:
    return any((path / name).is_file() for name in _TRIAL)


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.is_symlink())


def _states(path: Path) -> list[Path]:
    return sorted(path.glob("experiment_state-*.json")) or sorted(
        path.glob("experiment_state.json")
    )


def read(path: Path, wishes: Wishes) -> list[Found]:
    """The experiment of a folder; that of a trial's folder with this trial alone.

    Raises:
        InputError: A file of it is broken, or there is no trial in it that has begun.
    """
    notes = Notes()
    alone = path if _is_trial(path) and not _states(path) else None
    home = path.parent if alone and _states(path.parent) else path
    states = _states(home)
    known, metric = _state(states)
    folders = [alone] if alone else [folder for folder in _folders(home) if _is_trial(folder)]
    by_folder = {_folder_name(trial): trial_id for trial_id, trial in known.items()}
    begun, found = set[str](), list[FoundRun]()
    for folder in folders:
        trial = _Trial(folder, known, by_folder)
        begun.add(trial.id)
        found.append(trial.run(wishes, home))
    runs = in_order(found)
    if not runs:
        raise InputError(
            "no trial of this experiment has begun",
            source=str(path),
            expected="folders with params.json or result.json",
            hint="with TUNE_DISABLE_AUTO_CALLBACK_LOGGERS=1, Ray writes none of them",
        )
    space = infer([run.config for run in runs], notes)
    for run in runs:
        run.config = {**nested(space, dict(flat(run.config)))}
    notes.approximated(
        "parameters",
        "inferred from the values of the trials",
        "the experiment keeps its space as a pickle only, which is not opened",
    )
    first = states[0].name if states else runs[0].key
    return [
        Found(
            kind="Ray Tune experiment",
            where=str(path),
            identity=f"ray/{home.name}/{first}",
            name=home.name,
            runs=runs,
            space=space,
            notes=notes,
            metric=metric,
            waiting=0 if alone else len(known.keys() - begun),
        )
    ]


def _state(states: list[Path]) -> tuple[dict[str, dict[str, Any]], str | None]:
    """The trials of an experiment by their ids, and its metric."""
    state = read_json(states[-1]) if states else {}
    if not isinstance(state, Mapping):
        raise InputError("not the state of an experiment", source=str(states[-1]))
    runner = state.get("runner_data")
    metric = runner.get("_metric") if isinstance(runner, Mapping) else None
    known = {trial["trial_id"]: trial for trial in _trials(state, states)}
    return known, metric if isinstance(metric, str) else None


def _trials(state: Mapping[str, Any], states: list[Path]) -> Iterator[dict[str, Any]]:
    """The trials of either layout, as mappings with an id; what nobody asks for is left out."""
    pairs = [item if isinstance(item, list) else [item] for item in state.get("trial_data") or ()]
    for parts in pairs or [[item] for item in state.get("checkpoints") or ()]:
        trial: dict[str, Any] = {}
        for part in parts:
            try:
                said = json.loads(part) if isinstance(part, str) else part
            except (ValueError, RecursionError):
                said = None
            if not isinstance(said, Mapping):
                raise InputError(
                    "a trial of the experiment's state is no object", source=str(states[-1])
                )
            trial |= said
        if isinstance(trial.get("trial_id"), str):
            yield {key: trial[key] for key in _ASKED if key in trial}


def _folder_name(trial: Mapping[str, Any]) -> str:
    for key in ("relative_logdir", "logdir"):
        if isinstance(trial.get(key), str):
            return re.split(r"[/\\]", trial[key].rstrip("/\\"))[-1]
    return ""


class _Trial:
    """One trial's folder, as long as it is read: the runs of large experiments are many.

    Args:
        folder: It.
        known: The trials of the state, by id.
        by_folder: Their ids by the names of their folders.
    """

    def __init__(
        self, folder: Path, known: Mapping[str, dict[str, Any]], by_folder: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.results = folder / "result.json"
        self.first = next(self._lines(Notes()), {})
        name = _IN_NAME.search(folder.name)
        given = self.first.get("trial_id")
        self.id = (
            by_folder.get(folder.name)
            or (given if isinstance(given, str) else None)
            or (name[1] if name else folder.name)
        )
        self.state = known.get(self.id, {})

    def _lines(self, notes: Notes) -> Iterator[dict[str, Any]]:
        return _lines(self.results, notes)

    def run(self, wishes: Wishes, home: Path) -> FoundRun:
        """It as a run."""
        files = [p for p in self.folder.iterdir() if p.is_file()]
        touched = max((p.stat().st_mtime for p in files), default=self.folder.stat().st_mtime)
        created, last = self._begun(), touched
        status = str(self.state.get("status", ""))
        errors = self.folder / "error.txt"
        message = (
            errors.read_text("utf-8", "replace").strip()[-_MESSAGE:] if errors.is_file() else ""
        )
        state = _STATES.get(status) or ("failed" if message else self._by_last())
        if state == "running":
            message = ""
            alive = max([touched, *(p.stat().st_mtime for p in _states(home))])
            if wishes.now - alive > QUIET:
                state = "crashed"
                message = f"it was {status.lower() or 'not over'} when its experiment ended"
        tail = message.splitlines()[-1:] if "\n" in message else []
        return FoundRun(
            key=self.id,
            name=self._name(),
            state=state,
            config=self._config(),
            created_at=created,
            started_at=created,
            ended_at=None if state == "running" else self._ended(last),
            message="\n".join([*tail, message]),
            meta=self._about(),
            rows=_Rows(self.results, created),
        )

    def _name(self) -> str:
        trainable = self.state.get("trainable_name")
        return f"{trainable}_{self.id}" if isinstance(trainable, str) else self.folder.name

    def _about(self) -> dict[str, Any]:
        tag = self.state.get("experiment_tag")
        about = {"trial_id": self.id, "folder": str(self.folder)}
        return {**about, "experiment_tag": tag} if isinstance(tag, str) else about

    def _by_last(self) -> RunState:
        """How a trial ended that no state tells of: its last result says so when it was done."""
        last: dict[str, Any] = {}
        for result in self._lines(Notes()):
            last = result
        return "finished" if last and last.get("done") else "running"

    def _config(self) -> dict[str, Any]:
        params = self.folder / "params.json"
        config = read_json(params) if params.is_file() else None
        if config is None:  # killed before it was written
            config = self.first.get("config") or self.state.get("config") or {}
        if not isinstance(config, Mapping):
            raise InputError("not a trial's parameters", source=str(params), expected="an object")
        return plain_config(_without_blobs(config))

    def _begun(self) -> float:
        start = self.state.get("start_time")
        if isinstance(start, int | float) and not isinstance(start, bool):
            return float(start)
        stamp, took = self.first.get("timestamp"), self.first.get("time_total_s")
        if isinstance(stamp, int | float):
            return float(stamp) - (took if isinstance(took, int | float) else 0.0)
        named = re.search(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", self.folder.name)
        if named:
            return datetime.strptime(named[0], "%Y-%m-%d_%H-%M-%S").astimezone().timestamp()
        return self.folder.stat().st_mtime

    def _ended(self, touched: float) -> float:
        last = self.state.get("last_result")
        stamp = last.get("timestamp") if isinstance(last, Mapping) else None
        stamps = [stamp] if isinstance(stamp, int | float) else [touched]
        return max([float(stamps[0]), self._begun()])


class _Rows:
    """The history of a trial, read each time.

    Args:
        path: Its results.
        begun: When it began.
    """

    __slots__ = ("_begun", "_path")

    def __init__(self, path: Path, begun: float) -> None:
        self._path, self._begun = path, begun

    def __call__(self, notes: Notes) -> Iterator[Row]:
        when, left = self._begun, set[str]()
        for step, result in enumerate(_lines(self._path, notes)):
            stamp = result.get("timestamp")
            if isinstance(stamp, int | float) and not isinstance(stamp, bool):
                when = max(when, float(stamp))
            shown, media = scalars({k: v for k, v in result.items() if k not in _NOISE})
            for key in media - left:
                notes.lost(key, "left out of the history", "neither a number nor a text")
            left |= media
            yield Row(step, when, shown)


def _lines(path: Path, notes: Notes) -> Iterator[dict[str, Any]]:
    return read_lines(path, notes) if path.is_file() else iter(())


def _without_blobs(value: Any) -> Any:
    """A value with a word in place of each pickle."""
    if isinstance(value, Mapping):
        if value.get("_type") == _BLOB:
            return "<function of the program>"
        return {str(key): _without_blobs(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_blobs(item) for item in value]
    return value
