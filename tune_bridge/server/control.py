"""The requests of agents and of the command line, as `tune_bridge.wire` says them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import FastAPI, Path, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response

from tune_bridge import __version__
from tune_bridge.backends.base import Row
from tune_bridge.controller import Controller, SweepController
from tune_bridge.controller.listing import describe, is_reported, reported
from tune_bridge.controller.steering import ask, is_steered
from tune_bridge.errors import InputError, TooLargeError
from tune_bridge.server.lane import Lane
from tune_bridge.server.store import Store
from tune_bridge.server.wandb.routes import Wandb
from tune_bridge.values import decode, encode
from tune_bridge.wire import (
    ClaimRequest,
    Command,
    End,
    Ended,
    Heartbeat,
    NewSweep,
    Report,
    Verb,
    Verdicts,
)

__all__ = ["Control"]

_THREADS = 16
_INT64 = 2**63 - 1
_EVENTS = 10_000
_T = TypeVar("_T")
_Attempt = Annotated[int, Query(ge=1, le=_INT64)]


class Control:
    """The controller of a place, for an application.

    Args:
        controller: The sweeps.
        store: Their files.
        place: Said to whoever asks which server this is.
    """

    def __init__(self, controller: Controller, store: Store, place: str = "") -> None:
        self.controller = controller
        self.store = store
        self.place = place
        self.requests = 0
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="tune-bridge")
        self._lanes: dict[str, Lane] = {}
        self._opening: dict[str, asyncio.Task[Lane]] = {}
        self._sweep_of: dict[str, str] = {}
        controller.ticks.append(self._clear)
        controller.deleted.append(store.remove)
        self.wandb = Wandb(controller, store.folder, store.limits, self.in_thread, _pieces)

    def close(self) -> None:
        """Sends all agents away who wait for a run; to be called in the event loop."""
        for lane in self._lanes.values():
            lane.close()

    def _clear(self) -> None:
        """Deletes checkpoints that nobody needs; about once a second."""
        for sweep in self.controller.opened():
            with contextlib.suppress(InputError):  # its id names no folder
                self.store.shelf(sweep.id)
        self.store.clear(lambda sweep_id: self.controller.sweep(sweep_id).checkpoints())

    async def in_thread(self, function: Callable[..., _T], *args: Any) -> _T:
        """Calls a function in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    async def lane(self, sweep_id: str) -> Lane:
        """The way to a sweep.

        Raises:
            NotFoundError: There is none.
            InputError: Agents cannot run it.
        """
        found = self._lanes.get(sweep_id)
        if found is not None:
            return found
        opening = self._opening.get(sweep_id)
        if opening is None:
            opening = asyncio.ensure_future(self._open(sweep_id))
            self._opening[sweep_id] = opening
            opening.add_done_callback(lambda _: self._opening.pop(sweep_id, None))
        return await asyncio.shield(opening)

    async def _open(self, sweep_id: str) -> Lane:
        sweep = await self.in_thread(self.controller.sweep, sweep_id)
        lane = self._lanes[sweep_id] = Lane(sweep, self._pool)
        return lane

    async def lane_of(self, run_id: str) -> Lane:
        """The way to the sweep of a run.

        Raises:
            NotFoundError: There is no such run.
        """
        sweep_id = self._sweep_of.get(run_id)
        if sweep_id is None:
            run = await self.in_thread(self.controller.backend.run, run_id)
            sweep_id = self._sweep_of[run_id] = run.sweep_id
        return await self.lane(sweep_id)

    def attach(self, app: FastAPI) -> None:
        """Adds the routes."""
        table: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "/api/server", self.about),
            ("POST", "/api/sweeps", self.create),
            ("POST", "/api/sweeps/{sweep_id}/commands", self.command),
            ("GET", "/api/sweeps/{sweep_id}/queue", self.queue),
            ("GET", "/api/sweeps/{sweep_id}/events", self.events),
            ("POST", "/api/sweeps/{sweep_id}/claims", self.claim),
            ("POST", "/api/sweeps/{sweep_id}/heartbeats", self.heartbeat),
            ("POST", "/api/runs/{run_id}/reports", self.report),
            ("POST", "/api/runs/{run_id}/end", self.end),
            ("POST", "/api/runs/{run_id}/output", self.add_output),
            ("PUT", "/api/runs/{run_id}/checkpoints/{checkpoint}", self.put_checkpoint),
            ("GET", "/api/runs/{run_id}/checkpoints/{checkpoint}", self.get_checkpoint),
        ]
        for method, path, endpoint in table:
            name = endpoint.__name__
            app.add_api_route(path, endpoint, methods=[method], name=name, response_model=None)
        self.wandb.attach(app)

    # Sweeps.

    async def about(self) -> Response:
        """Which server this is."""
        return answer({"place": self.place, "version": __version__, "pid": os.getpid()})

    async def create(self, request: Request) -> Response:
        """Makes a sweep."""
        new = await self._read(request, NewSweep)

        def make() -> Any:
            return self.controller.create(
                new.config,
                project=new.project,
                name=new.name,
                settings=new.settings,
                seed=new.seed,
            )

        sweep = await self.in_thread(make)
        return answer({**msgspec.structs.asdict(sweep), "url": f"/sweeps/{sweep.id}"})

    async def command(self, request: Request, sweep_id: str) -> Response:
        """Does what somebody wants."""
        command = await self._read(request, Command)
        return answer({"result": await self.tell(sweep_id, command.verb, command.args)})

    async def tell(self, sweep_id: str, verb: Verb, args: dict[str, Any]) -> Any:
        """Does what somebody wants, or has the experiment do it that drives the sweep.

        Raises:
            NotFoundError: There is no such sweep, or run.
            InputError: It is not possible now, or makes no sense.
        """
        backend = self.controller.backend
        sweep = await self.in_thread(backend.sweep, sweep_id)
        if is_steered(sweep):
            return await self.in_thread(ask, backend, sweep, verb, args)
        lane = await self.lane(sweep_id)
        return await lane.call(lane.sweep.command, verb, **args)

    async def queue(self, sweep_id: str) -> Response:
        """Gate, limits, hosts, agents, runs by status."""
        backend = self.controller.backend
        sweep = await self.in_thread(backend.sweep, sweep_id)
        if is_reported(sweep):
            return answer(await self.in_thread(reported, backend, sweep))
        lane = await self.lane(sweep_id)
        return answer(await lane.call(describe, lane.sweep))

    async def events(
        self,
        sweep_id: str,
        first: Annotated[int, Query(ge=0, le=_INT64)] = 0,
        limit: Annotated[int, Query(ge=1, le=_EVENTS)] = 1000,
    ) -> Response:
        """The log."""

        def read() -> Response:
            found = self.controller.backend.events(sweep_id, first=first, limit=limit)
            return answer({"events": found, "first": first})

        return await self.in_thread(read)

    # Agents.

    async def claim(self, request: Request, sweep_id: str) -> Response:
        """A run for a free agent."""
        asked = await self._read(request, ClaimRequest)
        lane = await self.lane(sweep_id)
        gone = asyncio.ensure_future(_hung_up(request))
        try:
            return answer(await lane.claim(asked, gone))
        finally:
            gone.cancel()

    async def heartbeat(self, request: Request, sweep_id: str) -> Response:
        """A sign of life."""
        beat = await self._read(request, Heartbeat)
        lane = await self.lane(sweep_id)
        lane.sweep.seen(beat.runs)
        return answer(Verdicts(await lane.call(lane.sweep.heartbeat, beat.runs)))

    async def report(self, request: Request, run_id: str) -> Response:
        """Rows of a run."""
        told = await self._read(request, Report)
        lane = await self.lane_of(run_id)
        lane.sweep.seen((run_id,))
        checkpoint = told.checkpoint
        if checkpoint is not None and not await self.in_thread(
            self.store.has_checkpoint, lane.sweep.id, run_id, checkpoint
        ):
            checkpoint = None  # nobody could start from it
        verdict = await lane.call(
            lane.sweep.report,
            run_id,
            told.attempt,
            told.seq,
            [Row(*row) for row in told.rows],
            checkpoint=checkpoint,
            resumable=told.resumable,
            summary=told.summary,
            config=told.config,
        )
        return answer(verdict)

    async def end(self, request: Request, run_id: str) -> Response:
        """A run's program has ended."""
        end = await self._read(request, End)
        lane = await self.lane_of(run_id)

        def finish() -> None:
            lane.sweep.end(
                run_id,
                end.attempt,
                end.state,
                message=end.message,
                exit_code=end.exit_code,
                preempted=end.preempted,
            )

        if end.next is None:
            await lane.call(finish)
            return answer(Ended())
        gone = asyncio.ensure_future(_hung_up(request))
        try:
            return answer(Ended(await lane.claim(end.next, gone, finish)))
        finally:
            gone.cancel()

    # Files.

    async def add_output(
        self,
        request: Request,
        run_id: str,
        offset: Annotated[int, Query(ge=0, le=_INT64)],
        attempt: _Attempt = 1,
    ) -> Response:
        """More of a program's output."""
        data = await _body(request, self.store.limits.chunk)
        sweep = (await self.lane_of(run_id)).sweep
        if attempt > max(1, _attempts(sweep, run_id)):
            raise InputError("the run was not given out that often", found=f"attempt {attempt}")
        await self.in_thread(self.store.add_output, sweep.id, run_id, attempt, offset, data)
        return answer({})

    async def put_checkpoint(
        self, request: Request, run_id: str, checkpoint: Annotated[str, Path()]
    ) -> Response:
        """Stores a checkpoint."""
        sweep = (await self.lane_of(run_id)).sweep
        limit = self.store.limits.checkpoint
        _check_length(request, limit)
        with await self.in_thread(self.store.upload, sweep.id, run_id, checkpoint) as upload:
            async for data in _pieces(request, limit):
                await self.in_thread(upload.write, data)
            await self.in_thread(upload.commit)
        return answer({})

    async def get_checkpoint(self, run_id: str, checkpoint: str) -> Response:
        """Fetches a checkpoint."""
        sweep = (await self.lane_of(run_id)).sweep
        path = await self.in_thread(self.store.checkpoint, sweep.id, run_id, checkpoint)
        return FileResponse(path, media_type="application/x-tar", filename=f"{checkpoint}.tar")

    async def _read(self, request: Request, kind: type[_T]) -> _T:
        return parse(await _body(request, self.store.limits.body), kind)


def answer(value: Any) -> Response:
    """A value as `tune_bridge.values.encode` writes it, in JSON."""
    data = msgspec.json.encode(encode(msgspec.to_builtins(value)))
    return Response(data, media_type="application/json")


def parse(body: bytes, kind: type[_T]) -> _T:
    """The value that a body holds, of one kind and strictly typed.

    Raises:
        InputError: It is another thing; naming the place.
    """
    try:
        return msgspec.convert(decode(msgspec.json.decode(body)), kind)
    except msgspec.ValidationError as error:
        words, _, where = str(error).partition(" - at `$")
        raise InputError(words, path=where.strip("`.")) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InputError(f"the body is no JSON: {error}", expected=kind.__name__) from None
    except (TypeError, ValueError) as error:  # a tag with content that does not fit it
        raise InputError(f"a value that cannot be read: {error}") from None


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check_length(request: Request, limit: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise TooLargeError("the body is too large", found=f"{length} bytes", expected=_most(limit))


async def _pieces(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body, piece by piece.

    Raises:
        TooLargeError: It is larger than `limit` bytes.
        InputError: It broke off.
    """
    _check_length(request, limit)
    size = 0
    try:
        async for data in request.stream():
            size += len(data)
            if size > limit:
                raise TooLargeError("the body is too large", expected=_most(limit))
            if data:
                yield data
    except ClientDisconnect:
        raise InputError("the body broke off") from None


def _most(limit: int) -> str:
    return f"{limit} bytes at most"


async def _body(request: Request, limit: int) -> bytes:
    return b"".join([data async for data in _pieces(request, limit)])


def _attempts(sweep: SweepController, run_id: str) -> int:
    run = sweep.state.runs.get(run_id)
    return 0 if run is None else run.attempt
