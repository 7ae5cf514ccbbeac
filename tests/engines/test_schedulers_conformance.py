"""Each of Ray's schedulers in an engine, against the conformance suite."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.engines.agents import SCHEDULERS, engine_of, experiment
from tune_bridge.engines.base import Start
from tune_bridge.testing.engines import EngineTestCase

pytest.importorskip("ray.tune")

_COPIES = ("pb2", "pbt", "pbt_synch")
_QUICK = sorted(set(SCHEDULERS) - {*_COPIES})


class TestSchedulers(EngineTestCase):
    iterations = 9
    cuts = 3
    examples = 5

    @pytest.fixture(params=_QUICK)
    def make(self, request: Any) -> Any:
        return functools.partial(engine_of, experiment(SCHEDULERS[request.param], 10))


class _Population(EngineTestCase):
    def test_enqueued_points_run_once(self, make: Any) -> None:
        """They start as they were given; later they may become copies of others."""
        driver = self.driver(make)
        run = driver.enqueue({"x": 0.25})
        driver.drain()
        starts = {one.run: one.config for one in driver.answers if isinstance(one, Start)}
        assert starts[run] == {"x": 0.25}
        self._check_budget(driver, everything=True)


class TestPopulations(_Population):
    iterations = 9
    cuts = 3
    examples = 5

    @pytest.fixture(params=["pbt", "pbt_synch"])
    def make(self, request: Any) -> Any:
        return functools.partial(engine_of, experiment(SCHEDULERS[request.param], 10))


@pytest.mark.slow
class TestPb2(_Population):
    """Its Gaussian processes take a second for each copy."""

    iterations = 4
    cuts = 1
    examples = 1
    steps = 20

    @pytest.fixture
    def make(self) -> Any:
        return functools.partial(engine_of, experiment(SCHEDULERS["pb2"], 4))
