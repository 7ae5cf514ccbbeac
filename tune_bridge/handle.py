"""A sweep to look at from Python: in a notebook, or at a prompt.

    sweep = tune_bridge.open_sweep("3f9c2d1a")
    sweep                   # a table in a notebook
    sweep.runs()            # a pandas DataFrame
    sweep.best().config
    sweep.show()            # all drawings

Nothing here is live: each call reads what is there then.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote

import msgspec

from tune_bridge.agents import Server
from tune_bridge.api import connect
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import Backend, Row, Run
from tune_bridge.backends.base import Sweep as Record
from tune_bridge.backends.places import shown
from tune_bridge.errors import InputError, MissingExtraError, NotFoundError, TuneBridgeError
from tune_bridge.server import missing_extra, notebook
from tune_bridge.server.exports import TIMES, columns_of
from tune_bridge.server.views import Plan, Reader, Snapshot, flat
from tune_bridge.server_process import find_server

if TYPE_CHECKING:
    import pandas as pd

    from tune_bridge.callback import SweepCallback

__all__ = ["BestRun", "Page", "Sweep", "open_sweep"]

_PAGE = 10_000
_TIMES = TIMES | {"_timestamp"}


def open_sweep(
    sweep: str | SweepCallback,
    *,
    server: str | None = None,
    key: str | None = None,
    backend: Backend | str | None = None,
) -> Sweep:
    """A sweep to look at.

    Args:
        sweep: Its id, also as ``entity/project/id``; or the `SweepCallback` of an experiment.
        server: The URL of a server; ``TUNE_BRIDGE_SERVER`` without, when no `backend` is given.
        key: Its key; ``TUNE_BRIDGE_KEY`` without.
        backend: A backend or its URL, which is read without a server; this machine's own place
            without. It stays open when it was given open.

    Raises:
        NotFoundError: There is no such sweep.
        InputError: `sweep` names none, `server` is no URL, or it is given with `backend`, or the
            experiment has not begun.
        BackendError: It cannot be read.
    """
    if not isinstance(sweep, str):
        sweep, backend = _of_callback(sweep, backend)
    if server or (backend is None and os.environ.get("TUNE_BRIDGE_SERVER")):
        place = getattr(backend, "url", "") if isinstance(backend, Backend) else backend
        return Sweep(_OfServer(connect(server, key, place)), sweep)
    if isinstance(backend, Backend):
        return Sweep(_OfPlace(backend), sweep)
    opened = _OfPlace(open_backend(backend), own=True)
    try:
        return Sweep(opened, sweep)
    except BaseException:
        opened.close()
        raise


def _of_callback(
    callback: SweepCallback, backend: Backend | str | None
) -> tuple[str, Backend | str | None]:
    if not hasattr(callback, "sweep_id"):
        raise InputError(
            "this names no sweep", path="sweep", found=repr(callback)[:80],
            expected="a sweep's id, or the SweepCallback of an experiment",
        )  # fmt: skip
    if callback.sweep_id is None:
        raise InputError("the experiment has not begun: it has no sweep yet", path="sweep")
    return callback.sweep_id, backend or callback._backend


class BestRun(NamedTuple):
    """The best run of a sweep.

    Attributes:
        run_id: Its id.
        name: Its name.
        value: Its last value of the metric.
        config: Its parameters, as it was given them.
    """

    run_id: str
    name: str
    value: float
    config: dict[str, Any]


class Sweep:
    """A sweep to look at. Made by `open_sweep`.

    In a notebook it shows itself as a table of its best runs.

    Attributes:
        id: Its id.
        url: The address of its page, or None when no server is known that shows it to anybody.
    """

    def __init__(self, source: _Source, sweep_id: str) -> None:
        self._source = source
        # W&B alone has sweeps of the same id elsewhere.
        name = sweep_id if source.at_wandb else sweep_id.rstrip("/").rpartition("/")[2]
        self.id = source.snapshot(name).sweep.id
        self.url = source.url(self.id)

    def _read(self) -> Snapshot:
        return self._source.snapshot(self.id)

    @property
    def name(self) -> str:
        """Its name; its id when it has none."""
        return self._read().sweep.name or self.id

    @property
    def state(self) -> str:
        """As W&B says it: pending, running, paused, finished, canceled, failed or crashed."""
        return self._read().sweep.state

    @property
    def config(self) -> dict[str, Any]:
        """The sweep config."""
        return self._read().sweep.config

    def runs(self) -> pd.DataFrame:
        """All runs, in order of creation.

        Returns:
            A row for each run, by its id, with the columns of the dashboard's CSV: ``name``,
            ``state``, ``stopped_early``, ``created_at``, ``started_at`` and ``ended_at`` (UTC),
            ``rows``, ``config.KEY``, ``summary.KEY``, ``message``.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        snapshot = self._read()
        indices = range(len(snapshot.runs))
        read = columns_of(snapshot, indices)
        columns = {name: [value(index) for index in indices] for name, value in read.items()}
        ids = columns.pop("id")
        return _frame(columns, {"id": ids})

    def history(self, run_id: str | None = None) -> pd.DataFrame:
        """What runs have logged.

        Args:
            run_id: Of one run; of all runs without.

        Returns:
            A row for each one that was logged, by ``run`` and ``step``: what was logged, and
            ``_timestamp`` (UTC).

        Raises:
            NotFoundError: The sweep has no such run.
            MissingExtraError: pandas is not installed.
        """
        known = [run.id for run in self._read().runs]
        if run_id is not None and run_id not in known:
            raise NotFoundError("no such run", path=f"sweep {self.id}", found=repr(run_id))
        rows = [
            (each, row)
            for each in (known if run_id is None else [run_id])
            for row in self._source.history(each)
        ]
        logged = dict.fromkeys(key for _, row in rows for key in row.values)
        columns = {key: [row.values.get(key) for _, row in rows] for key in logged}
        columns["_timestamp"] = [row.time for _, row in rows]
        index: dict[str, list[Any]] = {
            "run": [each for each, _ in rows],
            "step": [row.step for _, row in rows],
        }
        return _frame(columns, index)

    def best(self) -> BestRun | None:
        """The run with the best value of the sweep's metric; None when no run has one."""
        snapshot = self._read()
        found = snapshot.best
        if found is None:
            return None
        config = snapshot.runs[snapshot.places[found.run_id]].config
        return BestRun(found.run_id, found.name, found.value, config)

    def show(self, height: int = 600) -> Page:
        """The sweep with its drawings, as `tune-bridge bundle` writes it.

        In a notebook it is shown where it is the last value of a cell; it needs no server and no
        network, and stays in the notebook (some 5 MB for the drawing library). At a prompt it is
        the address of the dashboard's page, or the command that shows it; a program prints that.

        Args:
            height: In pixels.
        """
        page = Page(self, height)
        if not hasattr(sys, "ps1"):  # a program: nobody shows its values
            print(page)
        return page

    def close(self) -> None:
        """Closes what `open_sweep` has opened. Idempotent."""
        self._source.close()

    def __enter__(self) -> Sweep:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        snapshot = self._read()
        return f"<Sweep {self.id}: {snapshot.sweep.state}, {notebook.progress(snapshot)}>"

    def _repr_html_(self) -> str:
        return notebook.summary(self._read(), self.url)


class Page:
    """What `Sweep.show` gives: drawings in a notebook, an address elsewhere."""

    def __init__(self, sweep: Sweep, height: int) -> None:
        self._sweep = sweep
        self._height = height

    def __repr__(self) -> str:
        sweep = self._sweep
        return sweep.url or f"watch it with: {sweep._source.command}  (sweep {sweep.id})"

    def _repr_html_(self) -> str:
        sweep = self._sweep
        page = sweep._source.bundle(sweep.id)
        return notebook.framed(page, self._height, sweep.url)


class _Source(Protocol):
    """Where a sweep is read."""

    @property
    def command(self) -> str:
        """What shows it, where no address does."""

    @property
    def at_wandb(self) -> bool:
        """Whether it is W&B, with pages of its own."""

    def url(self, sweep_id: str) -> str | None: ...

    def snapshot(self, sweep_id: str) -> Snapshot: ...

    def history(self, run_id: str) -> Sequence[Row]: ...

    def bundle(self, sweep_id: str) -> str: ...

    def close(self) -> None: ...


class _OfPlace:
    """A backend.

    Args:
        backend: Open.
        own: It is closed with this.
    """

    def __init__(self, backend: Backend, *, own: bool = False) -> None:
        self._backend = backend
        self._reader = Reader(backend)
        self._own = own

    @property
    def command(self) -> str:
        return f"tune-bridge dashboard --backend {shown(getattr(self._backend, 'url', None))}"

    @property
    def at_wandb(self) -> bool:
        return hasattr(self._backend, "page")

    def url(self, sweep_id: str) -> str | None:
        page = getattr(self._backend, "page", None)
        if page is not None:
            return str(page(sweep_id))
        found = find_server(getattr(self._backend, "url", None))
        try:
            if found is None or not Server(found.url).get("/api/server"):
                return None
        except TuneBridgeError:  # it wants a key
            return None
        return f"{found.url}/sweeps/{sweep_id}"

    def snapshot(self, sweep_id: str) -> Snapshot:
        return self._reader.snapshot(sweep_id)

    def history(self, run_id: str) -> list[Row]:
        return self._backend.history(run_id)

    def bundle(self, sweep_id: str) -> str:
        try:
            from tune_bridge.server.analysis.analyst import Analyst
            from tune_bridge.server.bundle import bundle
        except ImportError as error:
            raise missing_extra(error) from error
        return bundle(self._reader, sweep_id, Analyst(self._backend))

    def close(self) -> None:
        if self._own:
            self._backend.close()


class _OfServer:
    """A server.

    Args:
        server: Where it is.
    """

    command = ""
    at_wandb = False

    def __init__(self, server: Server) -> None:
        self._server = server

    def url(self, sweep_id: str) -> str:
        return f"{self._server.url}/sweeps/{sweep_id}"

    def snapshot(self, sweep_id: str) -> Snapshot:
        begun, path = time.time(), f"/api/sweeps/{quote(sweep_id, safe='')}"
        about = self._server.get(path)
        sweep = msgspec.convert(about, Record)
        runs: list[Run] = []
        while True:
            page = self._server.get(f"{path}/runs?limit={_PAGE}&offset={len(runs)}")
            for said in page["runs"]:
                said["summary"] = _floats(said["summary"])
                runs.append(msgspec.convert(said, Run))
            if not page["runs"] or len(runs) >= page["total"]:
                break
        return Snapshot(
            sweep=sweep,
            version=about["version"],
            plan=Plan.of(sweep.config),
            runs=runs,
            configs=[flat(run.config) for run in runs],
            summaries=[flat(run.summary) for run in runs],
            read_at=begun,
        )

    def history(self, run_id: str) -> list[Row]:
        path, rows, more = f"/api/runs/{quote(run_id, safe='')}/history", list[Row](), True
        while more:
            first = rows[-1].step + 1 if rows else 0
            page = self._server.get(f"{path}?min_step={first}")
            rows += [Row(row["step"], row["time"], _floats(row["values"])) for row in page["rows"]]
            more = page["more"]
        return rows

    def bundle(self, sweep_id: str) -> str:
        return str(self._server.get(f"/api/sweeps/{quote(sweep_id, safe='')}/bundle")["html"])

    def close(self) -> None:
        """A connection ends with its thread."""


_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _floats(value: Any) -> Any:
    """Numbers that JSON cannot say, as the server spells them."""
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    return _SPELLED.get(value, value) if isinstance(value, str) else value


def _frame(columns: dict[str, list[Any]], index: dict[str, list[Any]]) -> pd.DataFrame:
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("pandas", "ray", "a DataFrame") from None

    def times(values: list[Any]) -> Any:
        micro = [None if value is None else round(value * 1e6) for value in values]
        return pd.to_datetime(pd.Series(micro, dtype="Int64"), unit="us", utc=True)

    series = {
        name: times(values) if name in _TIMES else pd.Series(values)
        for name, values in columns.items()
    }
    frame = pd.DataFrame(series)
    return frame.set_axis(
        pd.MultiIndex.from_arrays(list(index.values()), names=list(index))
        if len(index) > 1
        else pd.Index(*index.values(), name=next(iter(index)))
    )
