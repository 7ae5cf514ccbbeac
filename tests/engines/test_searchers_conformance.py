"""Engines with searchers of Ray Tune against the conformance suite."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import pytest

from tests.engines.searchers import CONDITIONAL, FLOATS, HEAVY, LIGHT, experiment
from tune_bridge.engines import make_engine
from tune_bridge.experiment import Algorithm
from tune_bridge.testing.engines import EngineTestCase

pytestmark = pytest.mark.slow


class _Searchers(EngineTestCase):
    """Proposers on Ray's classes; the judge lets everybody run to the end."""

    examples = 4
    steps = 25
    cuts = 3
    space = CONDITIONAL
    number = 12
    args: ClassVar[dict[str, Any]] = {}
    kind = ""

    @pytest.fixture
    def make(self):
        made = experiment(self.kind, self.space, num_samples=self.number, args=self.args)
        return functools.partial(make_engine, made)


class _Modelled(_Searchers):
    """Searchers that think long: few of their runs are more than a first guess."""

    examples = 2
    steps = 15
    number = 8


def _suite(kind: str) -> type[EngineTestCase]:
    quick = kind not in (*HEAVY, "BayesOptSearch", "SkOptSearch")
    base = _Searchers if quick else _Modelled
    return type(f"Test{kind}", (base,), {"kind": kind})


globals().update({f"Test{kind}": _suite(kind) for kind in (*LIGHT, *HEAVY)})


class TestGenerator(_Searchers):
    kind = "BasicVariantGenerator"
    args: ClassVar = {"constant_grid_search": True}


class TestBayesOptWithItsModel(_Modelled):
    kind = "BayesOptSearch"
    space = FLOATS
    args: ClassVar = {"random_search_steps": 3}


class TestBatches(_Searchers):
    """A limiter that tells results when all of a batch have ended."""

    @pytest.fixture
    def make(self):
        made = experiment("OptunaSearch", CONDITIONAL, num_samples=12, max_concurrent=3)
        batch = Algorithm.of("ConcurrencyLimiter", searcher={"OptunaSearch": {}}, batch=True)
        return functools.partial(make_engine, made.replace(searcher=batch))
