"""What a call of ``fmin`` says beside the space, recorded and with HyperOpt's own objects."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest

from tune_bridge.dialects.calls import Call
from tune_bridge.dialects.hyperopt import HyperOptDialect
from tune_bridge.dialects.hyperopt.signatures import SIGNATURES
from tune_bridge.errors import InputError, SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm
from tune_bridge.hyperopt import fmin, hp, rand, tpe
from tune_bridge.notes import Level

hyperopt = pytest.importorskip("hyperopt")

DIALECT = HyperOptDialect()
SPACE = {"x": hp.uniform("x", 0, 1), "kind": hp.choice("kind", ["a", "b"])}


def read(**arguments: Any) -> Any:
    return DIALECT.read(fmin(None, SPACE, **arguments))


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (None, Algorithm("HyperOptSearch")),
        (hyperopt.tpe.suggest, Algorithm("HyperOptSearch")),
        (hyperopt.rand.suggest, RANDOM),
        (rand.suggest, RANDOM),
        (
            functools.partial(hyperopt.tpe.suggest, n_startup_jobs=5, gamma=0.3, verbose=False),
            Algorithm.of("HyperOptSearch", n_initial_points=5, gamma=0.3),
        ),
        (functools.partial(rand.suggest), RANDOM),
        (
            functools.partial(functools.partial(tpe.suggest, gamma=0.1), gamma=0.2),
            Algorithm.of("HyperOptSearch", gamma=0.2),
        ),
        (
            Call(SIGNATURES["partial"], {"func": tpe.suggest, "keywords": {"n_startup_jobs": 7}}),
            Algorithm.of("HyperOptSearch", n_initial_points=7),
        ),
    ],
    ids=["none", "tpe", "rand", "own-rand", "partial", "own-partial", "partials", "call"],
)
def test_algorithms(algorithm, expected):
    found = read(algo=algorithm)
    assert found.value.searcher == expected
    assert found.value.space_in == ("config" if expected == RANDOM else "searcher")
    assert found.notes.worst == Level.EXACT


@pytest.mark.parametrize("name", ["anneal", "atpe", "mix"])
def test_algorithms_of_hyperopt_alone_are_named(name):
    module = pytest.importorskip(f"hyperopt.{name}")
    found = read(algo=module.suggest)
    assert found.value.searcher == Algorithm("HyperOptSearch")
    assert str(found.notes[0]).startswith(f"approximated: algo: {name}.suggest as tpe.suggest")


def test_arguments_of_tpe_that_ray_has_not_are_named():
    notes = read(algo=functools.partial(hyperopt.tpe.suggest, n_EI_candidates=50)).notes
    assert [(note.level, note.path) for note in notes] == [
        (Level.APPROXIMATED, "algo.n_EI_candidates")
    ]


@pytest.mark.parametrize("value", ["anneal", len, lambda ids, domain, trials, seed: None])
def test_other_algorithms_are_refused(value):
    with pytest.raises(UnsupportedError, match="not one of HyperOpt's"):
        read(algo=value)


def test_limits_and_points():
    points = [{"x": 0.5, "kind": 1}]
    found = read(max_evals=7, timeout=60, loss_threshold=0.1, points_to_evaluate=points).value
    assert found.num_samples == 7
    assert found.extras.value == {"tune": {"time_budget_s": 60}}
    assert found.objective.target == 0.1
    assert [point.value for point in found.points] == [{"x": 0.5, "kind": "b"}]
    assert read(max_evals=np.int64(3)).value.num_samples == 3
    assert read(max_evals=10.0).value.num_samples == 10


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"max_evals": 0}, "max_evals"),
        ({"max_evals": "10"}, "max_evals"),
        ({"max_evals": True}, "max_evals"),
        ({"timeout": "1h"}, "timeout"),
        ({"loss_threshold": [1]}, "loss_threshold"),
        ({"points_to_evaluate": {"x": 1}}, "points_to_evaluate"),
        ({"points_to_evaluate": [{"y": 1}]}, "points_to_evaluate[0].y"),
        ({"points_to_evaluate": [{"kind": 7}]}, "points_to_evaluate[0].kind"),
        ({"trials": 3}, "trials"),
    ],
)
def test_malformed_arguments_are_named(arguments, path):
    with pytest.raises(SpecError) as caught:
        read(**arguments)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("state", "seed"),
    [
        (np.random.default_rng(5), 5),
        (np.random.RandomState(5), 5),
        (SIGNATURES["random.default_rng"].call(5), 5),
        (np.random.default_rng(), None),
        (None, None),
    ],
)
def test_seeds(state, seed):
    found = read(rstate=state)
    assert found.value.seed == seed
    assert found.notes.worst == Level.EXACT


def test_a_generator_that_was_used_has_no_seed():
    used = np.random.default_rng(5)
    used.random()
    assert read(rstate=used).notes.worst == Level.APPROXIMATED


def test_trials():
    trials = hyperopt.Trials()
    assert read(trials=trials).notes.worst == Level.EXACT
    hyperopt.fmin(
        lambda config: config["x"],
        {"x": hyperopt.hp.uniform("x", 0, 1)},
        algo=hyperopt.rand.suggest,
        max_evals=1,
        trials=trials,
        show_progressbar=False,
    )
    assert read(trials=trials).notes[0].what == "starts anew"


def test_the_objective_is_kept_by_name():
    assert DIALECT.read(fmin(json.dumps, SPACE)).value.trainable == "json:dumps"
    found = DIALECT.read(fmin(lambda config: 0, SPACE))
    assert (found.value.trainable, found.notes[0].path) == (None, "fn")


def test_what_is_left_out_is_said():
    assert read(verbose=False, max_queue_len=4).notes.worst == Level.EXACT
    assert read(early_stop_fn=lambda trials: (True, [])).notes.worst == Level.APPROXIMATED
    with pytest.raises(InputError, match="the graph instead"):
        read(pass_expr_memo_ctrl=True)


def test_a_program_says_the_same_again():
    algorithm = functools.partial(tpe.suggest, n_startup_jobs=5, gamma=0.3)
    first = DIALECT.read(
        fmin(
            json.dumps,
            SPACE,
            algo=algorithm,
            max_evals=7,
            rstate=np.random.default_rng(3),
            points_to_evaluate=[{"x": 0.5, "kind": 1}],
        )
    ).value
    text = DIALECT.source(first).value
    scope: dict[str, Any] = {"__name__": "written"}
    exec(
        text.replace("if __name__ ==", "if True or __name__ ==").replace(
            "from hyperopt import fmin, hp, tpe",
            "from tune_bridge.hyperopt import fmin, hp, tpe",
        ),
        scope,
    )
    assert DIALECT.read(scope["best"]).value == first
