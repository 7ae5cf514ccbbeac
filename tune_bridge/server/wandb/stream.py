"""The stream of a run: rows, the summary, console lines, system metrics, its end.

A request can arrive twice. Rows are numbered by the client; those that are there already are passed
over, so that each counts once.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from tune_bridge.backends.base import ENDED_RUN, LogRows, PatchRun, Row, Run
from tune_bridge.engines.base import EndState
from tune_bridge.errors import InputError, NotFoundError, TooLargeError, TuneBridgeError
from tune_bridge.server.wandb.agents import PREFIX
from tune_bridge.server.wandb.home import Driven, Home
from tune_bridge.server.wandb.jsontext import mapping, mappings
from tune_bridge.server.wandb.lines import Lines
from tune_bridge.server.wandb.runs import ATTEMPT, Runs, owner
from tune_bridge.server.wandb.watch import Watch

__all__ = ["Stream"]

_log = logging.getLogger("tune_bridge.wandb")

MOST_LINES = 100_000
_PREEMPTING = "wandb.preempting"
_INTERRUPTED = 255
"""Exit code of a program that wandb has interrupted."""

_LOCKS = 64


class Stream:
    """Takes what runs say.

    Args:
        home: Finds runs.
        runs: Knows which ones are to stop.
        lines: Keeps console lines and system metrics.
        watch: Told of every sign of life.
    """

    def __init__(self, home: Home, runs: Runs, lines: Lines, watch: Watch) -> None:
        self._home = home
        self._runs = runs
        self._lines = lines
        self._watch = watch
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def take(self, entity: str, project: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Takes one request.

        Returns:
            ``{"stopped": true}`` when the run is to end, else nothing.

        Raises:
            NotFoundError: There is no such run.
            InputError: The body is malformed.
        """
        run = self._home.existing(entity, project, name)
        chunks = _chunks(body.get("files"))
        with self._locks[hash(run.id) % _LOCKS]:
            run = self._home.backend.run(run.id)
            driven = self._home.driven(run)
            if driven is not None:
                driven.sweep.seen((run.id,))
                driven.sweep.heartbeat({run.id: driven.state.attempt})
            elif run.state not in ENDED_RUN:
                self._watch.heard(run.id)
            if body.get("preempting"):  # said once, before the end
                mark = {_PREEMPTING: run.meta.get(ATTEMPT, 0)}
                self._home.backend.update_run(run.id, meta=mark)
            stopped = self._take(run, driven, chunks)
            if body.get("complete"):
                self._complete(run, driven, body)
        stopped = stopped or self._runs.stopping(self._home.backend.run(run.id))
        return {"stopped": True} if stopped else {}

    def _take(self, run: Run, driven: Driven | None, chunks: dict[str, _Chunk]) -> bool:
        stopped = False
        for name, chunk in chunks.items():
            if name == "wandb-history.jsonl":
                stopped = self._rows(run, driven, chunk)
            elif name == "wandb-summary.json":
                self._summary(run, chunk)
            elif name == "output.log":
                self._lines.write(owner(run), "output", chunk.offset, _texts(chunk.lines))
            elif name == "wandb-events.jsonl":
                self._lines.write(owner(run), "events", chunk.offset, chunk.lines)
        return stopped

    def _rows(self, run: Run, driven: Driven | None, chunk: _Chunk) -> bool:
        new = chunk.lines[max(0, run.rows - chunk.offset) :]
        if not new:
            return False
        rows, last = [], run.last_step
        for values in mappings(new, "a history row"):
            row = _row(values, last)
            rows.append(row)
            last = row.step
        if driven is None:
            self._home.backend.apply([LogRows(run.id, rows)])
            return False
        seq = chunk.offset + len(chunk.lines) - 1
        try:
            verdict = driven.sweep.report(run.id, driven.state.attempt, seq, rows)
        except (InputError, NotFoundError) as error:
            # The searcher or scheduler has failed, and with it the sweep. The program is not to
            # blame: an error would make its client give up all that it still has to send.
            _log.warning("run %s: %s", run.id, error)
            return True
        return verdict.kind != "continue"

    def _summary(self, run: Run, chunk: _Chunk) -> None:
        if not chunk.lines:
            return
        summary = mapping(chunk.lines[-1], "the summary")
        summary = {key: value for key, value in summary.items() if key != "_wandb"}
        self._home.backend.apply([PatchRun(run.id, {"summary": summary}, time.time())])

    def _complete(self, run: Run, driven: Driven | None, body: Mapping[str, Any]) -> None:
        code = body.get("exitcode")
        code = code if isinstance(code, int) else 0
        attempt = run.meta.get(ATTEMPT, 0)
        preempted = code != 0 and attempt == self._home.backend.run(run.id).meta.get(_PREEMPTING)
        state = _end(code, preempted)
        words = "" if code == 0 else f"exit code {code}"
        self._watch.ended(run.id)
        if driven is None:
            if run.state not in ENDED_RUN:
                changes = {"state": state, "exit_code": code, "message": words}
                self._home.backend.apply([PatchRun(run.id, changes, time.time())])
            return
        sweep = driven.sweep
        if state == "finished":
            self._last_word(run, driven)
        if not driven.state.agent.startswith(PREFIX):
            return  # its agent says how it ended, and knows more of it
        sweep.end(run.id, driven.state.attempt, state, message=words, exit_code=code)
        if preempted and driven.state.status == "over" and driven.state.state == "crashed":
            sweep.command("retry", runs=[run.id])

    def _last_word(self, run: Run, driven: Driven) -> None:
        """A metric that is in the summary alone, for the engine."""
        objective = driven.sweep.experiment.objective
        if objective is None or driven.state.results or not driven.state.judged:
            return
        value = _number(self._home.backend.run(run.id).summary.get(objective.name))
        if value is not None:
            seq, summary = driven.state.seq + 1, {objective.name: value}
            try:
                driven.sweep.report(run.id, driven.state.attempt, seq, [], summary=summary)
            except TuneBridgeError as error:
                _log.warning("run %s: %s", run.id, error)


class _Chunk:
    """Lines of one file, the first of them being number `offset`."""

    __slots__ = ("lines", "offset")

    def __init__(self, offset: int, lines: list[str]) -> None:
        self.offset = offset
        self.lines = lines


def _chunks(files: Any) -> dict[str, _Chunk]:
    if not isinstance(files, dict | None):
        raise InputError("files must be a mapping", found=type(files).__name__)
    found = {}
    for name, about in (files or {}).items():
        offset = about.get("offset", 0) if isinstance(about, dict) else None
        lines = about.get("content", []) if isinstance(about, dict) else None
        if isinstance(lines, str):
            lines = [lines]
        if (
            not isinstance(offset, int)
            or offset < 0
            or not isinstance(lines, list)
            or not all(isinstance(line, str) for line in lines)
        ):
            raise InputError(f"{name}: expected an offset and a list of lines")
        if len(lines) > MOST_LINES:
            raise TooLargeError(f"{name}: too many lines", expected=f"{MOST_LINES} at most")
        found[str(name)] = _Chunk(offset, lines)
    return found


def _row(values: dict[str, Any], last: int) -> Row:
    """A row of the client; its step is the client's, unless that was there before."""
    step, at = values.pop("_step", None), values.pop("_timestamp", None)
    if type(step) is not int or not last < step < 2**63:
        step = last + 1
    if type(at) not in (int, float) or at != at:
        at = time.time()
    return Row(step, float(at), values)


def _end(code: int, preempted: bool) -> EndState:
    if code == 0:
        return "finished"
    if preempted:
        return "crashed"
    return "killed" if code == _INTERRUPTED else "failed"


def _texts(lines: list[str]) -> list[str]:
    """Console lines without the times that the client puts before them."""
    texts = []
    for line in lines:
        mark = "ERROR " if line.startswith("ERROR ") else ""
        stamp, space, text = line[len(mark) :].partition(" ")
        timed = bool(space) and len(stamp) > 18 and stamp[4:5] == "-" and "T" in stamp
        texts.append((text if timed else line).rstrip("\n"))
    return texts


def _number(value: Any) -> Any:
    """The number of a summary, also where `define_metric` has asked for several."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("min", "max", "last", "mean") if key in value), None)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
