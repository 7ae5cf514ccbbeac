"""What the conformance suite of backends sends to them, and how it compares what comes back."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tune_bridge.backends.base import (
    Backend,
    LogRows,
    Operation,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
    Row,
    Run,
    Sweep,
    new_id,
)

__all__ = [
    "NESTED",
    "comparable",
    "made_rows",
    "made_run",
    "made_sweep",
    "scripts",
    "snapshot",
]

NESTED: dict[str, Any] = {
    "int": 1,
    "float": 1.0,
    "tiny": 5e-324,
    "third": 1 / 3,
    "negative zero": -0.0,
    "big": 2**63 - 1,
    "true": True,
    "false": False,
    "none": None,
    "text": "Größe 数 🎛 \" ' \\ \n \x00",
    "empty": {},
    "list": [1, 1.0, "1", True, None, [], {"a": [0.5]}],
    "model": {"layers": [{"units": 8}, {"units": 16}], "dotted.key": 'quo"te'},
    "~": "~",
}
"""Of everything that JSON can say, the kind that a careless store changes."""


def snapshot(backend: Backend, sweep_id: str) -> object:
    """All that a backend says about a sweep, as one value that can be compared.

    NaN, which is not equal to itself, is there as text.
    """
    runs = backend.runs(sweep_id)
    return comparable(
        (backend.sweep(sweep_id), runs, [(run.id, backend.history(run.id)) for run in runs])
    )


def comparable(value: Any) -> Any:
    """A value in which 1, 1.0 and True are different, and NaN is equal to itself."""
    if isinstance(value, float):
        return ("float", repr(value))
    if isinstance(value, bool) or value is None:
        return (type(value).__name__, value)
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(comparable(item) for item in value)
    if hasattr(value, "__struct_fields__"):
        return {name: comparable(getattr(value, name)) for name in value.__struct_fields__}
    return value


@st.composite
def scripts(draw: st.DrawFn) -> list[Operation]:
    """Operations on one sweep and two runs, as a program would send them: time goes on."""
    sweep_id, ids = new_id(), [new_id(), new_id()]
    operations: list[Operation] = [PutSweep(Sweep(id=sweep_id))]
    operations += [PutRun(Run(id=run_id, sweep_id=sweep_id)) for run_id in ids]
    values = st.dictionaries(
        st.sampled_from(["a", "b", "c"]), st.floats() | st.integers() | st.none(), max_size=3
    )
    run_changes = st.fixed_dictionaries(
        {},
        optional={
            "state": st.sampled_from(["pending", "running", "finished", "failed", "killed"]),
            "message": st.text("xyz", max_size=2),
            "summary": values,
            "meta": values,
            "config": values,
            "exit_code": st.integers(0, 9),
            "stopped_early": st.booleans(),
        },
    )
    sweep_changes = st.fixed_dictionaries(
        {},
        optional={
            "state": st.sampled_from(["running", "paused", "finished", "canceled"]),
            "name": st.text("xyz", max_size=2),
            "meta": values,
        },
    )
    for at in range(1, draw(st.integers(1, 12)) + 1):
        run_id, kind = draw(st.sampled_from(ids)), draw(st.integers(0, 4))
        time, reopen = float(at), draw(st.booleans())
        if kind == 0:
            operations.append(PatchSweep(sweep_id, draw(sweep_changes), time, reopen))
        elif kind == 1:
            operations.append(PatchRun(run_id, draw(run_changes), time, reopen))
        else:
            steps = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))
            rows = [Row(step, time + i / 8, draw(values)) for i, step in enumerate(steps)]
            operations.append(LogRows(run_id, rows))
    return operations


def made_sweep(backend: Backend, **more: Any) -> str:
    """The id of a new sweep."""
    sweep_id = new_id()
    backend.apply([PutSweep(Sweep(id=sweep_id, **more))])
    return sweep_id


def made_run(backend: Backend, sweep_id: str | None = None, **more: Any) -> str:
    """The id of a new run, of a new sweep without one."""
    run_id = new_id()
    sweep_id = sweep_id or made_sweep(backend)
    backend.apply([PutRun(Run(id=run_id, sweep_id=sweep_id, **more))])
    return run_id


def made_rows(number: int, first: int = 0, key: str = "loss") -> list[Row]:
    """Rows with one value each."""
    return [Row(step, 100.0 + step, {key: step / 2}) for step in range(first, first + number)]
