"""`explain`: texts, levels, reasons, and refusals that stay where they belong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.explain import explain, rungs
from tune_bridge.notes import Level
from tune_bridge.space import Beta, Choice, Constant, Group, Integers, Parameter, Uniform
from tune_bridge.testing.strategies import experiments


@given(experiments())
def test_every_parameter_has_a_line_with_every_notation(experiment: Experiment) -> None:
    lines = {line.path: line for line in explain(experiment)}
    for path in experiment.searched:
        assert set(lines[path].cells) == {"sweep", "tune", "hyperopt"}
        assert lines[path].cells["sweep"].text
    json.dumps([line.as_dict() for line in lines.values()], allow_nan=False)


def test_what_cannot_be_said_hides_nothing_else() -> None:
    space = Group(
        (
            ("lr", Parameter(Uniform(-9, 0, scale="log", exponents=True))),
            ("branch", Choice((Group((("y", Parameter(Uniform(0, 1))),)), Constant.of(1)))),
            ("beta", Parameter(Beta(2, 5))),
            ("n", Parameter(Integers(1, 4096, log=True))),
        )
    )
    lines = {line.path: line for line in explain(Experiment(space=space))}
    assert lines["lr"].level is Level.EXACT
    assert lines["lr"].cells["sweep"].text == "log_uniform_values 0.00012341 to 1"
    assert lines["branch"].cells["sweep"].level is Level.CARRIED
    assert lines["branch"].cells["sweep"].text == "nested, branch ['y', '_1']"
    assert "inactive branches" in lines["branch"].cells["sweep"].notes[0].why
    assert lines["branch[0].y"].condition == "branch is y"
    assert lines["branch[0].y"].cells["tune"].text == "tune.uniform(0, 1)"
    assert lines["branch[0].y"].cells["hyperopt"].text == "hp.uniform('branch[0].y', 0, 1)"
    assert lines["branch[0].y"].level is Level.EXACT
    assert lines["beta"].cells["hyperopt"].level is Level.LOST
    assert lines["beta"].cells["sweep"].level is Level.EXACT
    assert lines["n"].cells["sweep"].level is Level.CARRIED
    assert "total variation" in lines["n"].cells["sweep"].notes[0].why


def test_settings_say_what_is_carried_and_show_rungs() -> None:
    experiment = Experiment(
        space=Group((("x", Parameter(Uniform(0, 1))),)),
        objective=Objective("loss"),
        searcher=Algorithm("HyperOptSearch"),
        scheduler=Algorithm.of("AsyncHyperBandScheduler", max_t=27, reduction_factor=3),
        seed=1,
    )
    lines = {line.path: line for line in explain(experiment)}
    assert lines["searcher"].cells["sweep"].level is Level.CARRIED
    assert lines["seed"].cells["sweep"].level is Level.CARRIED
    assert lines["scheduler"].cells["tune"].notes[0].what == "rungs at 1, 3, 9, 27"
    assert "resources" not in lines


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (Algorithm.of("AsyncHyperBandScheduler"), [1, 4, 16, 64]),
        (Algorithm.of("AsyncHyperBandScheduler", grace_period=5, max_t=20), [5, 20]),
        (Algorithm.of("hyperband", max_iter=27, s=2, eta=3), [3, 9]),
        (Algorithm.of("hyperband", max_iter=27, s=9), [1, 3, 9]),
        (Algorithm("PB2"), None),
    ],
)
def test_rungs(scheduler: Algorithm, expected: list[int] | None) -> None:
    assert rungs(scheduler) == expected


def test_wandbs_bands_have_no_end() -> None:
    found = rungs(Algorithm.of("hyperband", min_iter=2, eta=2))
    assert found is not None
    assert found[:4] == [2, 4, 8, 16]
