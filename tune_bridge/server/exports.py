"""Runs as files: CSV and Parquet, values in full."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tune_bridge.errors import MissingExtraError
from tune_bridge.server.values import is_number, plain
from tune_bridge.server.views import Snapshot

__all__ = ["TIMES", "columns_of", "has_parquet", "runs_csv", "runs_parquet"]

_FIXED = ("id", "name", "state", "stopped_early", "created_at", "started_at", "ended_at", "rows")
TIMES = frozenset({"created_at", "started_at", "ended_at"})
_MOST = 2**63


def columns_of(snapshot: Snapshot, indices: Sequence[int]) -> dict[str, Callable[[int], Any]]:
    """Names of the columns, and what reads them: facts, config, summary, message."""
    runs, configs, summaries = snapshot.runs, snapshot.configs, snapshot.summaries
    found: dict[str, Callable[[int], Any]] = {
        name: lambda index, name=name: getattr(runs[index], name)  # type: ignore[misc]
        for name in _FIXED
    }
    for prefix, maps in (("config", configs), ("summary", summaries)):
        for key in dict.fromkeys(key for index in indices for key in maps[index]):
            found[f"{prefix}.{key}"] = lambda index, maps=maps, key=key: maps[index].get(key)  # type: ignore[misc]
    found["message"] = lambda index: runs[index].message
    return found


def runs_csv(snapshot: Snapshot, indices: Sequence[int]) -> Iterator[str]:
    """The chosen runs as CSV: a line of names, then a line for each run."""
    columns = columns_of(snapshot, indices)
    yield _line(list(columns))
    for index in indices:
        yield _line([read(index) for read in columns.values()])


def _line(values: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(["" if value is None else _word(value) for value in values])
    return out.getvalue()


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return repr(value) if is_number(value) else json.dumps(plain(value), ensure_ascii=False)


def has_parquet() -> bool:
    """Whether `runs_parquet` can be used here."""
    return importlib.util.find_spec("pyarrow") is not None


def runs_parquet(snapshot: Snapshot, indices: Sequence[int]) -> bytes:
    """The chosen runs as Parquet: the columns of the CSV, with types.

    Times are UTC. A column of mixed types holds texts, as the CSV has them.

    Raises:
        MissingExtraError: PyArrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("pyarrow", "ray", "Parquet") from None
    types = {
        "bool": pa.bool_(),
        "int": pa.int64(),
        "float": pa.float64(),
        "time": pa.timestamp("us", tz="UTC"),
        "text": pa.string(),
    }
    arrays = {}
    for name, read in columns_of(snapshot, indices).items():
        kind, values = _typed([read(index) for index in indices], time=name in TIMES)
        arrays[name] = pa.array(values, type=types[kind])
    out = io.BytesIO()
    pq.write_table(pa.table(arrays), out)
    return out.getvalue()


def _typed(values: list[Any], *, time: bool) -> tuple[str, list[Any]]:
    """The narrowest type that holds all values, and the values in it."""
    present = [value for value in values if value is not None]
    if time:
        return "time", [None if value is None else round(value * 1e6) for value in values]
    if present and all(isinstance(value, bool) for value in present):
        return "bool", values
    if present and all(map(is_number, present)):
        if all(isinstance(value, int) and -_MOST <= value < _MOST for value in present):
            return "int", values
        if all(isinstance(value, float) or abs(value) < _MOST for value in present):
            return "float", [None if value is None else float(value) for value in values]
    return "text", [None if value is None else _text(value) for value in values]


def _text(value: Any) -> str:
    return _word(value).encode("utf-8", "replace").decode("utf-8")
