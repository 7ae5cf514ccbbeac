"""What happened to a run: its life, the changes of its configuration, the decision that ended it.

All of it stands in the log of its sweep, whoever wrote that: a controller (`controller.state`), or
an experiment of Ray Tune (`SweepCallback`, `SweepScheduler`). `Logs` reads each event once; where
there is no log, the run itself says what it can.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tune_bridge.backends.base import ENDED_RUN, Backend, Run
from tune_bridge.server.values import flatten, text

__all__ = ["Change", "Decision", "Life", "Logs", "Moment", "Saved", "life_of"]

_PAGE = 5000
_NOT_SAID = frozenset({"donor_config"})
_ANSWERS = frozenset({"start", "resume"})
_KEPT = frozenset({"claim", "tell", "hold"})
"""Events that are told of here in other words, or not at all."""

_COMMANDED = "stopped by command"
_DONE = {"exploit": "perturbed", "pause": "paused", "stop": "stopped"}


class Moment(msgspec.Struct, frozen=True):
    """One thing that happened to a run.

    Attributes:
        time: When, in seconds since the epoch.
        what: In a word: created, started, resumed, checkpoint, ...
        text: More of it, for people; may be empty.
        iteration: Of training, or None.
        other: Another run that it is about, or None.
    """

    time: float
    what: str
    text: str = ""
    iteration: int | None = None
    other: str | None = None


class Change(msgspec.Struct, frozen=True):
    """A parameter that a run went on with another value of.

    Attributes:
        time: When, in seconds since the epoch.
        step: Of the first row with the new value, or None.
        iteration: Of training, or None.
        key: Dotted path of the parameter; "" where a state alone was taken over.
        old: Its value before; None where there was none.
        new: Its value from then on; None where there is none.
        donor: The run whose state was taken over, or None.
        reason: For people.
    """

    time: float
    step: int | None
    iteration: int | None
    key: str
    old: Any
    new: Any
    donor: str | None = None
    reason: str = ""


class Decision(msgspec.Struct, frozen=True):
    """Why a run was ended before its end.

    Attributes:
        time: When, in seconds since the epoch; None when that is not known.
        rule: Who decided: a scheduler's class, ``hyperband``, ``stop``, ``done``, or "".
        reason: For people.
        info: What the rule knew: rung, cutoff, value, rank, of, ...
    """

    time: float | None
    rule: str
    reason: str
    info: dict[str, Any] = {}

    def sentence(self) -> str:
        """The decision, for people."""
        info = self.info
        if not self.rule and self.reason == _COMMANDED:
            return "Somebody has stopped it by command."
        said = f"Ended by {_RULES.get(self.rule, self.rule) or 'the scheduler'}"
        if info.get("time_attr") and info.get("time") is not None:
            said += f" at {info['time_attr']} {text(info['time'])}"
        return f"{said}: {self.reason.strip()}."

    def facts(self) -> list[tuple[str, str]]:
        """Its numbers: name and value."""
        info = self.info
        found = [
            (word, text(info[key], 60)) for key, word in _FACTS if info.get(key) not in (None, "")
        ]
        if info.get("rank") is not None and info.get("of") is not None:
            found.append(("Rank", f"{info['rank']} of {info['of']}"))
        return found


_RULES = {
    "hyperband": "W&B's hyperband",
    "AsyncHyperBandScheduler": "ASHA",
    "ASHAScheduler": "ASHA",
    "MedianStoppingRule": "the median rule",
    "HyperBandScheduler": "HyperBand",
    "HyperBandForBOHB": "HyperBand for BOHB",
    "done": "its program",
    "stop": "the stop condition",
    "stopper": "a stopper",
}
_FACTS = (
    ("rung", "Rung"),
    ("milestone", "Rung"),
    ("bracket", "Bracket"),
    ("value", "Its value"),
    ("best", "Its best"),
    ("cutoff", "Cut-off"),
    ("median", "Median"),
    ("bound", "Bound"),
    ("max_t", "max_t"),
    ("kept", "Go on"),
    ("runs", "Compared with"),
)


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint that a run has told of.

    Attributes:
        id: Its name.
        time: When it was told of.
        iteration: Of training, or None.
    """

    id: str
    time: float
    iteration: int | None


class Life(msgspec.Struct, frozen=True):
    """Everything that happened to a run.

    Attributes:
        moments: In order of time.
        changes: Of its configuration, in order of time.
        decision: That ended it, or None.
        saved: The checkpoints that it has told of, in order of time.
    """

    moments: list[Moment]
    changes: list[Change]
    decision: Decision | None
    saved: list[Saved]


class _Log:
    """What the log of one sweep says of its runs, as far as it was read."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.next = 0
        self.runs: dict[str, list[dict[str, Any]]] = {}
        self.results: dict[str, int] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        for run, said in self._split(event):
            self.runs.setdefault(run, []).append(said)

    def _split(self, event: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        kind, time, run = event.get("event"), float(event.get("time") or 0.0), event.get("run")
        if kind == "tell" and run and event.get("result"):
            self.results[run] = self.results.get(run, 0) + 1
        if kind in ("tell", "hold") and run and event.get("checkpoint"):
            values = event.get("result") or event.get("values") or {}
            at = values.get("training_iteration", self.results.get(run))
            about = {"checkpoint": event["checkpoint"], "iteration": at}
            yield run, {"event": "saved", "time": time, **about}
        elif kind == "command":
            args = event.get("args") or {}
            for named in [args.get("run"), *(args.get("runs") or ())]:
                if isinstance(named, str):
                    yield named, {"event": "command", "time": time, "verb": event.get("verb")}
        elif run and kind not in _KEPT and kind != "decision":
            kept = ("step", "state", "message", "exit_code", "preempted", "failures", "error")
            said = {key: event[key] for key in kept if event.get(key) is not None}
            yield run, {**said, "event": kind, "time": time}
        for did in event.get("did") or ():
            if not isinstance(did.get("run"), str):
                continue
            if did.get("answer") in _ANSWERS:
                where = {key: event[key] for key in ("agent", "host") if event.get(key)}
                yield did["run"], {"event": "given", "time": time, **where}
            elif did.get("action"):
                said = {key: value for key, value in did.items() if key != "checkpoint"}
                info = did.get("info") or {}
                said["info"] = {key: info[key] for key in info if key not in _NOT_SAID}
                if did["run"] == run:  # its own report; what Ray has kept of it is one older
                    at = (event.get("result") or {}).get("training_iteration")
                    said["iteration"] = at
                yield did["run"], {**said, "event": "did", "time": time, "step": event.get("step")}


class Logs:
    """What the logs of sweeps say of their runs. Thread-safe.

    Args:
        backend: Where the logs are.
        keep: How many sweeps are remembered.
    """

    def __init__(self, backend: Backend, keep: int = 8) -> None:
        self._backend = backend
        self._keep = keep
        self._lock = threading.Lock()
        self._logs: OrderedDict[str, _Log] = OrderedDict()

    def of(self, run: Run) -> list[dict[str, Any]]:
        """What the log says of a run, in order; each event of the sweep is read once.

        Raises:
            NotFoundError: The sweep is gone.
        """
        with self._read(run.sweep_id) as log:
            return list(log.runs.get(run.id, ()))

    def all(self, sweep_id: str) -> dict[str, list[dict[str, Any]]]:
        """What the log of a sweep says, by run; see `of`.

        Raises:
            NotFoundError: The sweep is gone.
        """
        with self._read(sweep_id) as log:
            return {run: list(said) for run, said in log.runs.items()}

    @contextlib.contextmanager
    def _read(self, sweep_id: str) -> Iterator[_Log]:
        """The log, read to its end; nobody else changes it meanwhile."""
        if not self._backend.keeps_events:
            yield _Log()
            return
        with self._lock:
            log = self._logs.setdefault(sweep_id, _Log())
            self._logs.move_to_end(sweep_id)
            while len(self._logs) > self._keep:
                self._logs.popitem(last=False)
        with log.lock:
            while page := self._backend.events(sweep_id, first=log.next, limit=_PAGE):
                for event in page:
                    log.take(event)
                log.next += len(page)
            yield log

    def life(self, run: Run) -> Life:
        """Everything that happened to a run.

        Raises:
            NotFoundError: The sweep is gone.
        """
        return life_of(run, self.of(run))


def life_of(run: Run, said: Sequence[Mapping[str, Any]]) -> Life:
    """Everything that happened to a run.

    Args:
        run: The run.
        said: What the log says of it; see `Logs.of`.
    """
    changes = _changes(said) or _lineage(run)
    moments = [Moment(run.created_at, "created", "enqueued" if run.meta.get("enqueued") else "")]
    starts, told = 0, False
    for event in said:
        starts += event["event"] in ("given", "started", "resumed", "restored")
        moment = _moment(event, starts, told=told)
        told = event["event"] == "did" or event.get("verb") == "stop_run"
        if moment is not None:
            moments.append(moment)
    known = {event["event"] for event in said}
    if run.started_at is not None and not starts:
        moments.append(Moment(run.started_at, "started", _on(run.meta)))
    if run.ended_at is not None and run.state in ENDED_RUN and not known & {"end", "ended"}:
        moments.append(Moment(run.ended_at, "ended", _outcome(run.state, run.message)))
    moments.sort(key=lambda moment: moment.time)
    saved = [
        Saved(event["checkpoint"], event["time"], _whole(event.get("iteration")))
        for event in said
        if event["event"] == "saved"
    ]
    return Life(moments, changes, _decision(run, said), saved)


def _moment(event: Mapping[str, Any], starts: int, *, told: bool) -> Moment | None:
    """What an event says, for people; None for what is said elsewhere.

    Args:
        event: See `Logs.of`.
        starts: How often the run was begun by then.
        told: Its agent has just been told to end the program.
    """
    kind, time = str(event["event"]), event["time"]
    if kind == "exploit":
        return None  # what came of it says more
    if kind == "given":
        more = f"attempt {starts}" if starts > 1 else ""
        where = ", ".join(filter(None, [_on(event), more]))
        return Moment(time, "resumed" if starts > 1 else "started", where)
    if kind == "end" and told and event.get("state") != "finished":
        return Moment(time, "left", "its program was ended")
    word, words = _SAID.get(kind, (kind, _at_step))
    return Moment(
        time,
        word or _DONE.get(event["action"], str(event["action"])),
        words(event),
        _iteration(event),
        event.get("donor"),
    )


def _at_step(event: Mapping[str, Any]) -> str:
    step = _whole(event.get("step"))
    return f"at step {step}" if step else ""


def _ended(event: Mapping[str, Any]) -> str:
    message, code = str(event.get("message") or ""), event.get("exit_code")
    shown = _outcome(str(event.get("state", "")), message)
    if code not in (None, 0) and "exit code" not in message:
        shown += f" (exit code {code})"
    return f"preempted: {shown}" if event.get("preempted") else shown


_SAID: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "saved": ("checkpoint", lambda event: str(event["checkpoint"])),
    "command": ("command", lambda event: str(event.get("verb") or "")),
    "did": ("", lambda event: str(event.get("reason") or "")),
    "lost": ("lost", lambda _: "its agent was not heard of"),
    "found": ("found", lambda _: "its agent is back"),
    "recovered": (
        "retried",
        lambda event: f"attempt {event.get('failures', '')} failed: {event.get('error', '')}",
    ),
    "end": ("ended", _ended),
    "ended": ("ended", _ended),
}
"""Kind of event -> the word for it (of "did", what was done), and what is said of it."""


def _on(about: Mapping[str, Any]) -> str:
    return f"on {about['host']}" if about.get("host") else ""


def _outcome(state: str, message: str) -> str:
    first = message.strip().partition("\n")[0]
    return f"{state}: {first}" if first else state


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and abs(value) < 2**63 else None


def _iteration(event: Mapping[str, Any]) -> int | None:
    """The iteration of a run at an event that concerns it."""
    info = event.get("info") or {}
    steps = info.get("steps")
    last = steps[0] if isinstance(steps, list) and steps else info.get("step")
    by_time = info.get("time") if info.get("time_attr") == "training_iteration" else None
    told = (event.get("iteration"), by_time, last)
    return next((found for found in map(_whole, told) if found is not None), None)


def _changes(said: Sequence[Mapping[str, Any]]) -> list[Change]:
    found: list[Change] = []
    for event in said:
        if event["event"] == "did" and event.get("action") == "exploit":
            found += _differences(
                event.get("old") or {},
                event.get("new") or {},
                event["time"],
                _whole(event.get("step")),
                _iteration(event),
                event.get("donor"),
                str(event.get("reason") or ""),
            )
    return found


def _lineage(run: Run) -> list[Change]:
    """The changes that a run itself tells of, where there is no log."""
    told = run.meta.get("lineage")
    told = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    found: list[Change] = []
    for before, after in itertools.pairwise(told):
        old, new = before.get("config") or {}, after.get("config") or {}
        time, donor = float(after.get("time") or 0.0), after.get("donor")
        found += _differences(old, new, time, _whole(after.get("step")), None, donor, "")
    return found


def _differences(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    time: float,
    step: int | None,
    iteration: int | None,
    donor: str | None,
    reason: str,
) -> list[Change]:
    before, after = flatten(dict(old)), flatten(dict(new))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if not keys and not donor:
        return []
    return [
        Change(time, step, iteration, key, before.get(key), after.get(key), donor, reason)
        for key in keys or [""]
    ]


def _decision(run: Run, said: Sequence[Mapping[str, Any]]) -> Decision | None:
    if not run.stopped_early:
        return None
    stops = [e for e in said if e["event"] == "did" and e.get("action") == "stop"]
    info: dict[str, Any] = dict(run.meta.get("stopped_by") or {})
    time, reason = run.ended_at, run.message
    if stops:
        info = {**info, **stops[-1]["info"]}
        time, reason = stops[-1]["time"], str(stops[-1].get("reason") or reason)
    rule = str(info.pop("rule", ""))
    first = reason.strip().partition("\n")[0].rstrip(".") or "no reason is known"
    return Decision(time, rule, first.removeprefix(f"{rule}: ") if rule else first, info)
