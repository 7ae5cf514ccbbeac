"""Carries that people write by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tune_bridge import SweepConfig
from tune_bridge.engines import make_engine
from tune_bridge.errors import SpecError


def _engine(search_alg: dict[str, Any], **carry: Any) -> Any:
    config = {
        "program": "train.py",
        "method": "bayes",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"distribution": "uniform", "min": 0, "max": 1}},
        "run_cap": 3,
        "controller": {
            "type": "cloud",
            "tune": {"version": 1, "search_alg": search_alg, **carry},
        },
    }
    return make_engine(SweepConfig(config).experiment, sweep_id="s", seed=1)


@pytest.mark.parametrize(
    ("search_alg", "said"),
    [
        (
            {"HyperOptSearch": {"random_state_seed": 3}},
            "search_alg.HyperOptSearch.random_state_seed: the sweep says this elsewhere",
        ),
        ({"HyperOptSearch": {"metric": "loss"}}, "the key 'metric'"),
        ({"HyperOptSearch": {"gama": 0.5}}, "did you mean 'gamma'?"),
        (
            {
                "ConcurrencyLimiter": {
                    "searcher": {"HyperOptSearch": {}},
                    "max_concurrent": 1,
                }
            },
            "the key 'max_concurrent_trials'",
        ),
        ({"Repeater": {"searcher": {"HyperOptSearch": {"mode": "min"}}}}, "HyperOptSearch.mode"),
    ],
)
def test_what_belongs_elsewhere_is_refused(search_alg: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=re.escape(said)):
        _engine(search_alg)


def test_arguments_of_the_searcher_are_its_own() -> None:
    made = _engine(
        {"Repeater": {"searcher": {"HyperOptSearch": {"gamma": 0.5}}, "repeat": 2}},
        seed=3,
        max_concurrent_trials=2,
    )
    assert made.ask(time=0.0).config["x"] <= 1.0
