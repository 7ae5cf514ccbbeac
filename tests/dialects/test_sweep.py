"""Sweep configs: every top-level key, the carry, and files with mistakes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from tests.corpus import REFUSED, sweep_files
from tests.dialects.schema import assert_valid
from tune_bridge.dialects.sweep import SweepDialect, yaml_file
from tune_bridge.dialects.sweep.carry import decode_node, encode_node
from tune_bridge.errors import InputError, SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.notes import Level
from tune_bridge.space import Choice, Constant, Group, Integers, Parameter, Uniform
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.testing.strategies import experiments, spaces
from tune_bridge.testing.translations import assert_identity
from tune_bridge.values import Frozen, same_data

SWEEP = SweepDialect()
LOSS = Objective("loss")
WIDTH = Group((("width", Parameter(Uniform(0, 20))),))
BASE: dict[str, Any] = {
    "program": "train.py",
    "method": "random",
    "parameters": {"lr": {"distribution": "uniform", "min": 0, "max": 1}},
}


def read(**changes: Any) -> Experiment:
    config = {key: value for key, value in {**BASE, **changes}.items() if value is not ...}
    return SWEEP.read(config).value


@given(experiments())
def test_an_experiment_is_the_same_after_a_trip_through_a_sweep(experiment: Experiment) -> None:
    assert_identity("sweep", experiment)


@given(experiments())
def test_the_same_through_text_and_through_the_client(experiment: Experiment) -> None:
    config = SWEEP.write(experiment).value
    assert_valid(config)
    text = yaml_file.dump(config)
    assert SWEEP.read(yaml_file.load(text)).value == experiment
    # W&B's client: yaml.safe_load, a JSON round trip, keys sorted on the way out.
    assert yaml.safe_load(text) == config
    stored = yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=True))
    assert SWEEP.read(stored).value == experiment


@given(experiments())
def test_wandbs_client_sends_it_as_it_is(experiment: Experiment) -> None:
    sweeps = pytest.importorskip("wandb.apis.public.sweeps", reason="needs wandb")
    config = SweepConfig.from_experiment(experiment)
    filled = sweeps._validate_config_and_fill_distribution(config)
    assert type(filled) is dict
    assert filled == config


@given(experiments())
def test_the_native_keys_are_a_sweep_by_themselves(experiment: Experiment) -> None:
    config = SWEEP.write(experiment).value
    config.pop("controller", None)
    assert_valid(config)
    native = SWEEP.read(config).value
    assert native.searched.keys() == experiment.searched.keys()
    again = SWEEP.write(native).value
    again.pop("controller", None)
    assert same_data(again, config)


@given(spaces())
def test_every_node_survives_the_carry(space: Group) -> None:
    data = json.loads(json.dumps(encode_node(space)))
    assert decode_node(data, "x") == space


@pytest.mark.parametrize("path", sweep_files(), ids=lambda path: path.stem)
def test_the_corpus(path: Path) -> None:
    if path.stem in REFUSED:
        with pytest.raises(SpecError) as caught:
            SweepConfig.load(path)
        error = caught.value
        assert error.line is not None
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
        return
    experiment = SweepConfig.load(path).experiment
    written = SweepConfig.from_experiment(experiment)
    assert SweepConfig.from_yaml(written.to_yaml()).experiment == experiment
    original = {key for key in yaml.safe_load(path.read_text()) if key != "controller"}
    assert original <= written.keys()
    assert_valid({key: value for key, value in written.items() if key in VALID_KEYS})


VALID_KEYS = {
    "apiVersion", "kind", "program", "command", "method", "metric", "parameters", "name", "project",
    "description", "entity", "controller", "early_terminate", "run_cap",
}  # fmt: skip


def test_grid() -> None:
    grid = read(
        method="grid",
        parameters={
            "a": {"values": [1, 2]},
            "b": {"min": 1, "max": 3},
            "c": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25},
            "d": {"value": 7},
        },
        run_cap=5,
    )
    assert grid.is_grid
    assert (grid.num_samples, grid.run_cap, grid.searcher) == (1, 5, RANDOM)
    assert SWEEP.write(grid).value["method"] == "grid"
    assert "controller" not in SWEEP.write(grid).value


def test_a_grid_beside_random_parameters_is_carried() -> None:
    space = Group(
        (
            ("a", Choice((Constant.of(1), Constant.of(2)), grid=True)),
            ("b", Parameter(Uniform(0, 1))),
        )
    )
    written = SWEEP.write(Experiment(space=space, num_samples=5))
    assert (written.value["method"], written.value["run_cap"]) == ("random", 10)
    assert written.notes.worst is Level.CARRIED
    assert SWEEP.read(written.value).value.num_samples == 5


def test_a_repeated_grid_is_carried() -> None:
    space = Group((("a", Choice((Constant.of(1), Constant.of(2)), grid=True)),))
    written = SWEEP.write(Experiment(space=space, num_samples=3))
    assert "run_cap" not in written.value
    assert SWEEP.read(written.value).value.num_samples == 3


def test_run_cap_is_the_number_of_samples() -> None:
    assert read(run_cap=12).num_samples == 12
    assert read().num_samples is None
    written = SWEEP.write(Experiment(space=WIDTH, num_samples=None)).value
    assert "run_cap" not in written


def test_asha_becomes_hyperband_and_comes_back() -> None:
    asha = Algorithm.of("AsyncHyperBandScheduler", max_t=81, grace_period=3, reduction_factor=3)
    experiment = Experiment(space=WIDTH, objective=LOSS, scheduler=asha)
    written = SWEEP.write(experiment)
    assert written.value["early_terminate"] == {"type": "hyperband", "min_iter": 3, "eta": 3}
    assert SWEEP.read(written.value).value.scheduler == asha


def test_hyperband_is_kept_as_written() -> None:
    for spec in (
        {"type": "hyperband", "min_iter": 3},
        {"type": "hyperband", "max_iter": 27, "s": 2, "eta": 3},
        {"type": "hyperband", "min_iter": 1, "eta": 2.5, "strict": True},
    ):
        experiment = read(early_terminate=spec, metric={"name": "loss"})
        assert experiment.scheduler is not None
        assert experiment.scheduler.kind == "hyperband"
        assert SWEEP.write(experiment).value["early_terminate"] == spec


def test_unknown_keys_settings_and_a_local_controller_are_kept() -> None:
    config = {
        **BASE,
        "controller": {"type": "local"},
        "settings": {"a": 1},
        "launch": {"queue": "q"},
        "description": "text",
    }
    translation = SWEEP.read(config)
    assert [note.path for note in translation.notes] == ["launch"]
    written = SWEEP.write(translation.value.replace(seed=3)).value
    assert written["controller"]["type"] == "local"
    assert written["controller"]["tune"] == {"version": 1, "seed": 3}
    assert written["settings"] == {"a": 1}
    assert written["launch"] == {"queue": "q"}
    assert SWEEP.read(written).value == translation.value.replace(seed=3)


# The carry and edits by hand ----------------------------------------------------------------------


def carried() -> dict[str, Any]:
    experiment = Experiment(
        program="train.py",
        space=Group(
            (
                ("lr", Parameter(Uniform(-9, -2, scale="log", exponents=True))),
                ("n", Parameter(Integers(0, 8, 2))),
                ("group", Group((("label", Parameter(Uniform(0, 1), label="other")),))),
            )
        ),
        objective=LOSS,
        searcher=Algorithm.of("HyperOptSearch", n_initial_points=7),
        scheduler=Algorithm.of("AsyncHyperBandScheduler", grace_period=2),
        num_samples=20,
        seed=5,
        space_in="searcher",
    )
    return copy.deepcopy(SWEEP.write(experiment).value)


def test_the_carry_holds_only_what_native_keys_leave_out() -> None:
    config = carried()
    assert set(config["controller"]) == {"type", "tune"}
    assert set(config["controller"]["tune"]) == {
        "version", "search_alg", "scheduler", "seed", "space_in", "space",
    }  # fmt: skip
    assert set(config["controller"]["tune"]["space"]) == {"lr", "n", "group/label"}


def test_a_sweep_that_wandb_says_natively_has_no_carry() -> None:
    assert "controller" not in SWEEP.write(read(run_cap=3)).value


@pytest.mark.parametrize(
    ("edit", "check", "stale"),
    [
        (
            lambda c: c["parameters"]["lr"].update(max=0.5),
            lambda e: e.searched["lr"].distribution.high == 0.5,
            ["controller.tune.space.lr"],
        ),
        (lambda c: c.update(run_cap=99), lambda e: e.num_samples == 99, []),
        (
            lambda c: c.update(method="random"),
            lambda e: e.searcher == RANDOM,
            ["controller.tune.search_alg"],
        ),
        (
            lambda c: c["early_terminate"].update(min_iter=9),
            lambda e: e.scheduler == Algorithm.of("hyperband", min_iter=9, eta=4),
            ["controller.tune.scheduler"],
        ),
        (
            lambda c: c.pop("early_terminate"),
            lambda e: e.scheduler is None,
            ["controller.tune.scheduler"],
        ),
        (
            lambda c: c["parameters"].pop("n"),
            lambda e: "n" not in e.searched and e.seed == 5,
            ["controller.tune.space.n"],
        ),
        (lambda c: c["metric"].update(name="acc"), lambda e: e.objective.name == "acc", []),
        (
            lambda c: c["parameters"]["group"]["parameters"].update(label={"value": 1}),
            lambda e: "group.label" not in e.searched,
            ["controller.tune.space.group/label"],
        ),
    ],
)
def test_an_edit_by_hand_overrules_the_carry(edit: Any, check: Any, stale: list[str]) -> None:
    config = carried()
    edit(config)
    translation = SWEEP.read(config)
    assert check(translation.value)
    assert [note.path for note in translation.notes] == stale


@pytest.mark.parametrize(
    ("carry", "path"),
    [
        (3, "controller.tune"),
        ({}, "controller.tune.version"),
        ({"version": 99}, "controller.tune.version"),
        ({"version": 1, "what": 1}, "controller.tune.what"),
        ({"version": 1, "seed": "x"}, "controller.tune.seed"),
        ({"version": 1, "search_alg": "x"}, "controller.tune.search_alg"),
        ({"version": 1, "search_alg": {}}, "controller.tune.search_alg"),
        ({"version": 1, "stop": 3}, "controller.tune.stop"),
        ({"version": 1, "space": []}, "controller.tune.space"),
        ({"version": 1, "space": {"lr": {"node": "x"}}}, "controller.tune.space.lr"),
        (
            {
                "version": 1,
                "space": {
                    "lr": {
                        "node": "parameter",
                        "distribution": {"distribution": "uniform", "low": 3, "high": 1},
                    }
                },
            },
            "controller.tune.space.lr",
        ),
    ],
)
def test_a_damaged_carry_has_one_clear_error(carry: Any, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(controller={"type": "cloud", "tune": carry})
    assert caught.value.path == path


# Mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"method": ...}, "method", ["a sweep without method"]),
        ({"method": "byes"}, "method", ["did you mean 'bayes'?"]),
        ({"method": ["random"]}, "method", ["unknown method"]),
        ({"method": "bayes"}, "metric", ["bayes needs a metric"]),
        ({"parameters": ...}, "parameters", ["a sweep without parameters"]),
        ({"parameters": [1]}, "parameters", ["not a mapping"]),
        ({"parameters": {"a/b": {"value": 1}}}, "parameters.a/b", ["W&B forbids", "'a.b'"]),
        ({"parameters": {3: {"value": 1}}}, "parameters.3", ["W&B forbids"]),
        ({"program": 5}, "program", ["not text"]),
        ({"metric": "loss"}, "metric", ["no name"]),
        ({"metric": {"name": "l", "goal": "min"}}, "metric.goal", ["did you mean 'minimize'?"]),
        ({"metric": {"name": "l", "target": "x"}}, "metric.target", ["not a number"]),
        ({"command": "python x"}, "command", ["not a list"]),
        ({"command": [{"a": 1}]}, "command[0]", ["quotes"]),
        ({"run_cap": 0}, "run_cap", ["too small"]),
        ({"run_cap": "3"}, "run_cap", ["not a whole number"]),
        ({"early_terminate": 3}, "early_terminate", ["not a mapping"]),
        ({"early_terminate": {"type": "median"}}, "early_terminate.type", ["hyperband"]),
        ({"early_terminate": {"type": "hyperband"}}, "early_terminate", ["min_iter"]),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 0}},
            "early_terminate.min_iter",
            ["too small"],
        ),
        (
            {"early_terminate": {"type": "hyperband", "min_itr": 1}},
            "early_terminate.min_itr",
            ["did you mean 'min_iter'?"],
        ),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}},
            "early_terminate.eta",
            ["not above 1"],
        ),
        ({"controller": {"tune": {}}}, "controller", ["no type"]),
        ({"parameters": {"x": {"value": {"eval": "1"}}}}, "parameters.x", ["lone key 'eval'"]),
        (
            {"parameters": {"x": {"values": [{"a": [{"grid_search": [1]}]}]}}},
            "parameters.x[0].a[0]",
            ["lone key 'grid_search'"],
        ),
        ({"parameters": {"x": {"parameters": {"eval": {"value": 1}}}}}, "parameters.x", ["eval"]),
    ],
)
def test_a_malformed_sweep_has_one_clear_error(
    changes: dict[str, Any], path: str, words: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        read(**changes)
    assert caught.value.path == path
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("experiment", "kind", "words"),
    [
        (Experiment(space=Group()), SpecError, "without parameters"),
        (
            Experiment(space=Group((("a/b", Parameter(Uniform(0, 1))),))),
            SpecError,
            "parameters.a/b: W&B forbids",
        ),
        (Experiment(space=WIDTH, searcher=Algorithm("HyperOptSearch")), SpecError, "metric"),
        (
            Experiment(space=WIDTH, scheduler=Algorithm("AsyncHyperBandScheduler")),
            SpecError,
            "metric",
        ),
        (Experiment(space=WIDTH, searcher=Algorithm("MySearch")), UnsupportedError, "MySearch"),
        (
            Experiment(space=WIDTH, scheduler=Algorithm("Mine"), objective=LOSS),
            UnsupportedError,
            "Mine",
        ),
        (
            Experiment(space=Group((("c", Constant.of({"eval": "x"})),))),
            SpecError,
            "lone key 'eval'",
        ),
    ],
)
def test_what_no_sweep_can_say_is_refused(
    experiment: Experiment, kind: type[InputError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        SWEEP.write(experiment)


def test_tuples_and_nan_are_carried_and_noted() -> None:
    space = Group(
        (
            ("shape", Constant.of((3, 3))),
            ("nan", Constant.of(float("inf"))),
            ("opt", Choice((Constant.of((1, 2)), Constant.of([1, 2])))),
            ("x", Parameter(Uniform(0, 1))),
        )
    )
    written = SWEEP.write(Experiment(space=space))
    assert written.value["parameters"]["shape"] == {"value": [3, 3]}
    assert {note.path for note in written.notes} == {
        "parameters.shape", "parameters.nan", "parameters.opt[0]",
    }  # fmt: skip
    back = SWEEP.read(json.loads(json.dumps(written.value))).value
    assert back.space == space
    with pytest.raises(UnsupportedError, match="carried"):
        SweepConfig.from_experiment(Experiment(space=space), strict=True)
    assert Frozen((1, 2)) != Frozen([1, 2])
