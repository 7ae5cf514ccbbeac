"""The addresses that the client asks for.

| request | what it is |
|---|---|
| ``POST /graphql`` | an operation |
| ``POST /files/{entity}/{project}/{run}/file_stream`` | what a run says |
| ``PUT``, ``GET /wandb/files/{token}`` | a file, by a signed address that expires |
| ``GET /artifactsV2/...`` | a file of an artifact |
| ``GET /{entity}/{project}/runs/{run}`` and ``.../sweeps/{sweep}`` | on to the dashboard's page |
| ``/sdk/otel/...`` | 404: the client then sends no telemetry |
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec
from fastapi import FastAPI, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from tune_bridge.backends.base import Backend
from tune_bridge.controller import Controller
from tune_bridge.errors import InputError, NotFoundError, TooLargeError, TuneBridgeError
from tune_bridge.server.security import error_response
from tune_bridge.server.store import Limits
from tune_bridge.server.values import json_bytes
from tune_bridge.server.wandb.agents import Agents
from tune_bridge.server.wandb.artifacts import Artifacts
from tune_bridge.server.wandb.catalog import Catalog
from tune_bridge.server.wandb.execute import GoneError, execute
from tune_bridge.server.wandb.files import Files
from tune_bridge.server.wandb.home import Home
from tune_bridge.server.wandb.ids import Signer, parts
from tune_bridge.server.wandb.jsontext import mapping
from tune_bridge.server.wandb.lines import Lines
from tune_bridge.server.wandb.operations import operations
from tune_bridge.server.wandb.runs import DOWNLOAD, UPLOAD, Runs
from tune_bridge.server.wandb.shelf import Place, Shelves
from tune_bridge.server.wandb.steering import Steering
from tune_bridge.server.wandb.stream import Stream
from tune_bridge.server.wandb.sweeps import Sweeps
from tune_bridge.server.wandb.watch import Watch

__all__ = ["Wandb"]

_MOST_KNOWN = 100_000
"""Runs whose sweep is remembered."""

_SANDBOX = "sandbox; default-src 'none'"
"""Policy of files of runs: a browser runs nothing of them."""


class Wandb:
    """The wire protocol over a controller.

    Args:
        controller: The sweeps.
        folder: For files of runs.
        limits: How much is taken.
        in_thread: Calls a function in a thread.
        pieces: Reads the body of a request piece by piece, up to a number of bytes.

    Attributes:
        runs: The operations on runs.
        home: Finds projects and runs.
        files: Of runs and artifacts.
        lines: Of output.
        shelves: The artifacts.
    """

    def __init__(
        self,
        controller: Controller,
        folder: Path,
        limits: Limits,
        in_thread: Callable[..., Any],
        pieces: Callable[[Request, int], AsyncIterator[bytes]],
    ) -> None:
        backend: Backend = controller.backend
        self._limits = limits
        self._in_thread = in_thread
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._sweeps: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._pieces = pieces
        self.home = self._home = Home(controller)
        self._signer = Signer(folder / "wandb")
        self.files = self._files = Files(folder / "wandb" / "files", limits.checkpoint)
        self.lines = self._lines = Lines(folder / "wandb" / "lines", limits.output)
        self._watch = Watch(backend)
        controller.ticks.append(self._watch.look)
        self.shelves = shelves = Shelves(folder / "wandb" / "artifacts")
        catalog = Catalog(self._home, shelves, self._files, self._signer)
        artifacts = Artifacts(self._home, shelves, self._files, catalog)
        runs = Runs(self._home, self._files, self._lines, self._signer, self._watch, catalog)
        self.runs = runs
        agents = Agents(self._home, runs)
        steering = Steering(self._home)
        sweeps = Sweeps(self._home, runs, agents, catalog, steering)
        self._operations = operations(runs, sweeps, agents, artifacts, steering)
        self._stream = Stream(self._home, runs, self._lines, self._watch)

    def attach(self, app: FastAPI) -> None:
        """Adds the routes."""
        table: list[tuple[str, str, Callable[..., Any]]] = [
            ("POST", "/graphql", self.graphql),
            ("POST", "/files/{entity}/{project}/{run}/file_stream", self.stream),
            ("PUT", "/wandb/files/{token}", self.put),
            ("GET", "/wandb/files/{token}", self.get),
            ("GET", "/artifactsV2/{region}/{entity}/{project}/{rest:path}", self.artifact),
            ("GET", "/{entity}/{project}/sweeps/{sweep}", self.sweep_page),
            ("GET", "/{entity}/{project}/runs/{run}", self.run_page),
        ]
        for method, path, endpoint in table:
            name = f"wandb_{endpoint.__name__}"
            app.add_api_route(path, endpoint, methods=[method], name=name, include_in_schema=False)
        for method in ("GET", "POST"):
            app.add_api_route(
                "/sdk/{rest:path}", _nothing, methods=[method], include_in_schema=False
            )

    async def graphql(self, request: Request) -> Response:
        """One operation."""
        body = await self._json(request)
        query, variables = body.get("query"), body.get("variables") or {}
        if not isinstance(query, str) or not isinstance(variables, dict):
            raise InputError("expected a query and its variables", path="query")
        name = body.get("operationName") or None
        lost: list[Callable[[], None]] = []

        def run() -> dict[str, Any]:
            base = f"{request.url.scheme}://{request.headers['host']}"
            return execute(query, variables, self._operations, name=name, base=base, lost=lost)

        try:
            sweep_id, alive = _beat(query, variables)
            answer = await self._in_turn(sweep_id, alive, run)
        except GoneError as error:
            data = {"data": None, "errors": [{"message": str(error)}]}
            return Response(json_bytes(data), 404, media_type="application/json")
        if lost and await request.is_disconnected():
            for call in lost:
                call()
        return Response(json_bytes(answer), media_type="application/json")

    async def stream(self, request: Request, entity: str, project: str, run: str) -> Response:
        """What a run says."""
        body = await self._json(request)
        run_id, sweep_id = await self._run_of(entity, project, run)
        take = self._stream.take
        answer = await self._in_turn(sweep_id, (run_id,), take, entity, project, run, body)
        return Response(json_bytes(answer), media_type="application/json")

    async def _in_turn(
        self, sweep_id: str | None, seen: Iterable[str], function: Callable[..., Any], *args: Any
    ) -> Any:
        """Calls a function in a thread, behind those that were asked for the same sweep before.

        An engine that thinks for long keeps one thread, and not as many as programs of its sweep
        have something to say. They count as alive although they wait.
        """
        if sweep_id is None:
            return await self._in_thread(function, *args)
        turn = self._turns.get(sweep_id)
        if turn is None:
            turn = self._turns[sweep_id] = asyncio.Lock()
        if turn.locked():
            await self._in_thread(self._seen, sweep_id, seen)
        async with turn:
            return await self._in_thread(function, *args)

    def _seen(self, sweep_id: str, runs: Iterable[str]) -> None:
        with contextlib.suppress(TuneBridgeError):  # no controller has it: nobody is missed there
            self._home.controller.sweep(sweep_id).seen(runs)

    async def _run_of(self, entity: str, project: str, run: str) -> tuple[str, str]:
        """The id of a run in the backend, and its sweep."""
        key = (entity, project, run)
        found = self._sweeps.get(key)
        if found is None:
            there = await self._in_thread(self._home.existing, *key)
            if len(self._sweeps) >= _MOST_KNOWN:
                self._sweeps.clear()
            found = self._sweeps[key] = (there.id, there.sweep_id)
        return found

    async def put(self, request: Request, token: str) -> Response:
        """A file."""
        sweep_id, run_id, name = self._checked(UPLOAD, token)
        with await self._in_thread(self._files.upload, (sweep_id, run_id), name) as upload:
            async for data in self._pieces(request, self._files.limit):
                await self._in_thread(upload.write, data)
            await self._in_thread(upload.commit)
        return Response(b"{}", media_type="application/json")

    async def get(self, token: str) -> Response:
        """A file."""
        sweep_id, run_id, name = self._checked(DOWNLOAD, token)
        found = await self._in_thread(self._files.file, (sweep_id, run_id), name)
        return _attached(found.path, name)

    async def artifact(self, region: str, entity: str, project: str, rest: str) -> Response:
        """A file of an artifact, by its digest: ``.../<digest>/<name>``."""
        digest, _, name = rest.rpartition("/")
        owner = Catalog.owner(Place(entity, project))
        file = f"content/{digest.rpartition('/')[2]}"
        found = await self._in_thread(self._files.file, owner, file)
        return _attached(found.path, name)

    def _checked(self, purpose: str, token: str) -> list[str]:
        try:
            found = self._signer.check(purpose, token)
        except (InputError, ValueError):
            raise NotFoundError("no such address, or it has expired") from None
        return found

    async def sweep_page(self, entity: str, project: str, sweep: str) -> Response:
        """On to the page of a sweep."""
        found = await self._in_thread(self._home.sweep, sweep)
        return RedirectResponse(f"/sweeps/{found.id}", 302)

    async def run_page(self, entity: str, project: str, run: str) -> Response:
        """On to the page of the sweep that has a run."""
        found = await self._in_thread(self._home.existing, entity, project, run)
        return RedirectResponse(f"/sweeps/{found.sweep_id}", 302)

    async def _json(self, request: Request) -> dict[str, Any]:
        body = b"".join([data async for data in self._pieces(request, self._limits.body)])
        if request.headers.get("content-encoding", "").lower() == "gzip":
            body = await self._in_thread(_unpacked, body, self._limits.body)
        try:
            found = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            found = mapping(body, "the body")
        return found if isinstance(found, dict) else mapping(found, "the body")


def _attached(path: Path, name: str) -> Response:
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=name.rpartition("/")[2],
        content_disposition_type="attachment",
        headers={"Content-Security-Policy": _SANDBOX},
    )


def _unpacked(body: bytes, limit: int) -> bytes:
    """A body that came compressed; it counts as what it is then.

    Raises:
        TooLargeError: It is larger than `limit` bytes.
        InputError: It is no gzip.
    """
    unpacking = zlib.decompressobj(wbits=31)
    try:
        found = unpacking.decompress(body, limit)
    except zlib.error:
        raise InputError("the body is no gzip", path="Content-Encoding") from None
    if unpacking.unconsumed_tail:
        raise TooLargeError("the body is too large", expected=f"{limit} bytes at most")
    if not unpacking.eof:
        raise InputError("the body is cut off", path="Content-Encoding")
    return found


def _beat(query: str, variables: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """The sweep of an agent that gives a sign of life, and the runs that it says to have."""
    if "agentHeartbeat" not in query:
        return None, []
    try:
        sweep_id = parts("Agent", variables.get("id"))[0]
        return sweep_id, list(mapping(variables.get("runState") or "{}", "runState"))
    except (NotFoundError, InputError, IndexError):  # refused where it is looked at
        return None, []


async def _nothing(rest: str) -> Response:
    return error_response(404, "no such address", found=f"/sdk/{rest}")
