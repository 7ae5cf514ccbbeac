"""The collector rests while much is made, and is as it was before afterwards."""

from __future__ import annotations

import contextlib
import gc

import pytest

from tune_bridge import SweepConfig
from tune_bridge.errors import SpecError
from tune_bridge.garbage import no_collection


@pytest.fixture(autouse=True)
def collector():
    before = gc.isenabled()
    gc.enable()
    yield
    gc.enable() if before else gc.disable()


def test_it_rests_inside_and_works_afterwards():
    with no_collection():
        assert not gc.isenabled()
        with no_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(SpecError), no_collection():
        raise SpecError("malformed")
    assert gc.isenabled()


@pytest.mark.parametrize("enabled", [True, False])
def test_translations_leave_it_as_it_was(enabled):
    (gc.enable if enabled else gc.disable)()
    for text in ("method: random\nparameters: {x: {min: 0.0, max: 1.0}}\n", "method: 3\n", "["):
        with contextlib.suppress(SpecError):
            SweepConfig.from_yaml(text).to_yaml()
        assert gc.isenabled() == enabled


def test_no_collection_runs_while_a_sweep_is_read():
    rows = "".join(f"  p{i}: {{min: 0.0, max: {i}.5}}\n" for i in range(3000))
    text = f"method: random\nparameters:\n{rows}"
    seen = []
    gc.callbacks.append(lambda phase, about: seen.append(about["generation"]))
    try:
        gc.collect(0)
        assert seen
        config = SweepConfig.from_yaml(text)
        seen.clear()
        written = config.to_yaml()
    finally:
        gc.callbacks.pop()
    assert written.count("min:") == 3000
    assert len(seen) < 20  # hundreds without
