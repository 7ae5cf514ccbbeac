"""The Ray Tune dialect reads what is given to tune.run and Tuner, recorded and live."""

from __future__ import annotations

import datetime as dt
import functools
import importlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.dialects.tune_names import (
    DIALECT,
    SPACE,
    Libraries,
    P,
    Trainer,
    read,
    space,
    train,
)
from tune_bridge import tune
from tune_bridge.dialects.ray_tune import live_arguments
from tune_bridge.errors import InputError, SpecError, UnsupportedError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.hyperopt import hp
from tune_bridge.notes import Level
from tune_bridge.space import (
    Constant,
    Group,
    Uniform,
)
from tune_bridge.tune.schedulers import ASHAScheduler, FIFOScheduler
from tune_bridge.tune.search import BasicVariantGenerator, ConcurrencyLimiter
from tune_bridge.tune.search.hyperopt import HyperOptSearch
from tune_bridge.values import Frozen


@pytest.fixture(params=[False, True], ids=["recorded", "live"])
def library(request: pytest.FixtureRequest) -> Libraries:
    return Libraries(request.param)


# The search around the space


def test_a_program_is_read(tmp_path):
    for program in ("train.py", "python train.py", "run"):
        assert DIALECT.read({"run_or_experiment": program}).value.program == program
    assert DIALECT.read({"run_or_experiment": tmp_path}).value.program == str(tmp_path)


def test_a_trainable_is_read_by_its_name():
    assert read(run_or_experiment=train).trainable == f"{train.__module__}:train"
    assert read(run_or_experiment=Trainer.step).trainable == f"{train.__module__}:Trainer.step"


def test_a_registered_name_is_a_trainable():
    ray_tune = pytest.importorskip("ray.tune")
    ray_tune.register_trainable("my trainable", train)
    assert read(run_or_experiment="my trainable").trainable == "my trainable"


def test_a_function_of_the_program_that_was_started_is_remarked_on(monkeypatch):
    import __main__

    def objective(config: Any) -> None: ...

    objective.__module__, objective.__qualname__ = "__main__", "objective"
    monkeypatch.setattr(__main__, "objective", objective, raising=False)
    found = DIALECT.read({"run_or_experiment": objective})
    assert found.value.trainable == "__main__:objective"
    assert [note.path for note in found.notes] == ["trainable"]


def _local() -> Callable[[Any], None]:
    def inner(config: Any) -> None: ...

    return inner


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (lambda config: None, "lambda"),
        (_local(), "inside a function"),
        (3, "neither"),
        (importlib, "neither"),
    ],
)
def test_a_trainable_that_cannot_be_imported_is_refused(bad, word):
    with pytest.raises(UnsupportedError, match=f"^run_or_experiment: .*{word}"):
        read(run_or_experiment=bad)


SEARCHES: dict[str, tuple[Callable[[Libraries], dict[str, Any]], dict[str, Any]]] = {
    "nothing": (lambda _: {}, {}),
    "random": (lambda _: {"search_alg": "random"}, {}),
    "variant generator": (lambda _: {"search_alg": "variant_generator"}, {}),
    "hyperopt": (
        lambda _: {"search_alg": "HyperOpt", "metric": "a", "mode": "min"},
        {"searcher": Algorithm("HyperOptSearch"), "objective": Objective("a")},
    ),
    "an object": (lambda s: {"search_alg": s.basic()}, {}),
    "a generator's arguments": (
        lambda s: {
            "search_alg": s.basic(
                points_to_evaluate=[{"lr": 0.1}],
                max_concurrent=2,
                constant_grid_search=True,
                random_state=7,
            )
        },
        {
            "searcher": Algorithm.of("BasicVariantGenerator", constant_grid_search=True),
            "points": (Frozen({"lr": 0.1}),),
            "max_concurrent": 2,
            "seed": 7,
        },
    ),
    "hyperopt's arguments": (
        lambda s: {
            "search_alg": s.hyperopt(
                metric="loss", mode="max", n_initial_points=5, random_state_seed=42, gamma=0.3
            )
        },
        {
            "searcher": Algorithm.of("HyperOptSearch", n_initial_points=5, gamma=0.3),
            "objective": Objective("loss", "maximize"),
            "seed": 42,
        },
    ),
    "hyperopt's defaults": (
        lambda s: {
            "search_alg": s.hyperopt(metric="loss", mode="min", n_initial_points=None, gamma=None)
        },
        {"searcher": Algorithm("HyperOptSearch"), "objective": Objective("loss")},
    ),
    "a limiter": (
        lambda s: {
            "search_alg": s.limiter(s.hyperopt(metric="loss", mode="min"), max_concurrent=3)
        },
        {
            "searcher": Algorithm("HyperOptSearch"),
            "objective": Objective("loss"),
            "max_concurrent": 3,
        },
    ),
    "a limit": (lambda _: {"max_concurrent_trials": 4}, {"max_concurrent": 4}),
    "a metric": (
        lambda _: {"metric": "acc", "mode": "max"},
        {"objective": Objective("acc", "maximize")},
    ),
    "a mode": (lambda _: {"mode": "max"}, {"objective": Objective("_metric", "maximize")}),
    "fifo": (lambda s: {"scheduler": s.fifo()}, {}),
    "fifo by name": (lambda s: {"scheduler": "fifo"}, {}),
    "asha by name": (
        lambda s: {"scheduler": "asynchyperband", "metric": "a", "mode": "min"},
        {"scheduler": Algorithm("AsyncHyperBandScheduler"), "objective": Objective("a")},
    ),
    "asha": (
        lambda s: {
            "scheduler": s.asha(
                time_attr="step",
                metric="acc",
                mode="max",
                max_t=81,
                grace_period=3,
                reduction_factor=3,
                brackets=2,
                stop_last_trials=False,
            )
        },
        {
            "scheduler": Algorithm.of(
                "AsyncHyperBandScheduler",
                time_attr="step",
                max_t=81,
                grace_period=3,
                reduction_factor=3,
                brackets=2,
                stop_last_trials=False,
            ),
            "objective": Objective("acc", "maximize"),
        },
    ),
    "one metric in two places": (
        lambda s: {"scheduler": s.asha(metric="acc", mode="max"), "metric": "acc"},
        {
            "scheduler": Algorithm("AsyncHyperBandScheduler"),
            "objective": Objective("acc", "maximize"),
        },
    ),
    "samples": (lambda _: {"num_samples": 20}, {"num_samples": 20}),
    "no end": (lambda _: {"num_samples": -1}, {"num_samples": None}),
    "stop": (
        lambda _: {"stop": {"training_iteration": 5, "a/b": 0.5}},
        {"stop": Frozen({"training_iteration": 5, "a/b": 0.5})},
    ),
    "resources": (
        lambda _: {"resources_per_trial": {"cpu": 2, "gpu": 0.5}},
        {"resources": Frozen({"cpu": 2, "gpu": 0.5})},
    ),
    "a name": (lambda _: {"name": "mine"}, {"name": "mine"}),
    "the rest": (
        lambda s: {
            "time_budget_s": dt.timedelta(minutes=1),
            "max_failures": 3,
            "verbose": 1,
            "storage_path": "/tmp/results",
            "checkpoint_config": s.tune.CheckpointConfig(num_to_keep=2),
            "fail_fast": False,
        },
        {
            "extras": Frozen(
                {
                    "tune": {
                        "time_budget_s": 60.0,
                        "max_failures": 3,
                        "verbose": 1,
                        "storage_path": "/tmp/results",
                        "checkpoint_config": {"num_to_keep": 2},
                    }
                }
            )
        },
    ),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_is_read(library, name):
    make, expected = SEARCHES[name]
    base = Experiment(space=space(lr=P(Uniform(1e-4, 1e-1, scale="log"))), program="train.py")
    assert read(config=SPACE, **make(library)) == base.replace(**expected)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_is_written_and_read_again(name):
    make, _ = SEARCHES[name]
    experiment = read(config=SPACE, **make(Libraries(live=False)))
    written = DIALECT.write(experiment)
    assert written.notes.worst == Level.EXACT
    assert DIALECT.read(written.value).value == experiment
    assert DIALECT.read(live_arguments(experiment)).value == experiment


class _Own:
    """A searcher of somebody's own."""


BAD: dict[str, tuple[dict[str, Any], type[InputError], tuple[str, ...]]] = {
    "an unknown argument": ({"num_sample": 3}, SpecError, ("num_sample", "'num_samples'")),
    "no such number": ({"num_samples": 0}, SpecError, ("num_samples", "0", "-1")),
    "half a sample": ({"num_samples": 1.5}, SpecError, ("num_samples", "1.5")),
    "a removed argument": ({"local_dir": "/tmp"}, UnsupportedError, ("local_dir", "storage_path")),
    "a stopper": ({"stop": lambda i, r: True}, UnsupportedError, ("stop", "function")),
    "a callback": ({"callbacks": [object()]}, UnsupportedError, ("callbacks", "list")),
    "a lambda": (
        {"trial_name_creator": lambda trial: "x"},
        UnsupportedError,
        ("trial_name_creator", "lambda"),
    ),
    "another searcher": ({"search_alg": _Own()}, UnsupportedError, ("search_alg", "_Own")),
    "a searcher's class": ({"search_alg": _Own}, UnsupportedError, ("search_alg", "_Own")),
    "another searcher's name": (
        {"search_alg": "optun"},
        UnsupportedError,
        ("search_alg", "'optun'", "'hyperopt'", "'optuna'"),
    ),
    "a scheduler as a searcher": (
        {"search_alg": FIFOScheduler()},
        UnsupportedError,
        ("search_alg", "FIFOScheduler"),
    ),
    "another scheduler": ({"scheduler": "pbtt"}, UnsupportedError, ("scheduler", "'pbtt'")),
    "a searcher as a scheduler": (
        {"scheduler": BasicVariantGenerator()},
        UnsupportedError,
        ("scheduler", "BasicVariantGenerator"),
    ),
    "asha's numbers": (
        {"scheduler": ASHAScheduler(max_t=5, grace_period=10), "metric": "a", "mode": "min"},
        SpecError,
        ("scheduler.grace_period", "10", "max_t"),
    ),
    "asha's words": (
        {"scheduler": ASHAScheduler(max_t="x")},
        SpecError,
        ("scheduler.max_t", "'x'"),
    ),
    "two metrics": (
        {"scheduler": ASHAScheduler(metric="a", mode="min"), "metric": "b"},
        SpecError,
        ("metric", "'a' in scheduler", "'b' in tune.run"),
    ),
    "two modes": (
        {"search_alg": HyperOptSearch(metric="a", mode="min"), "mode": "max"},
        SpecError,
        ("mode", "'min' in search_alg"),
    ),
    "no such mode": ({"metric": "a", "mode": "lowest"}, SpecError, ("mode", "'lowest'")),
    "no mode": ({"search_alg": "hyperopt", "metric": "a"}, SpecError, ("mode", "'min' or 'max'")),
    "no limit": (
        {"search_alg": ConcurrencyLimiter(HyperOptSearch(), 0)},
        SpecError,
        ("search_alg.max_concurrent",),
    ),
    "two limits": (
        {
            "search_alg": ConcurrencyLimiter(HyperOptSearch(metric="a", mode="min"), 2),
            "max_concurrent_trials": 3,
        },
        SpecError,
        ("max_concurrent_trials", "3, and 2"),
    ),
    "a seed that is no number": (
        {"search_alg": BasicVariantGenerator(random_state="x")},
        UnsupportedError,
        ("search_alg.random_state", "'x'"),
    ),
    "two spaces": (
        {"search_alg": HyperOptSearch({"a": hp.uniform("a", 0, 1)}, metric="a", mode="min")},
        SpecError,
        ("lr", "both"),
    ),
    "points that are no list": (
        {"search_alg": BasicVariantGenerator(points_to_evaluate={"lr": 1})},
        SpecError,
        ("search_alg.points_to_evaluate", "a list"),
    ),
    "points that are no dicts": (
        {"search_alg": BasicVariantGenerator(points_to_evaluate=[3])},
        SpecError,
        ("search_alg.points_to_evaluate[0]", "3"),
    ),
    "wrapped resources": (
        {"resources_per_trial": lambda config: 1},
        UnsupportedError,
        ("resources_per_trial",),
    ),
    "a wrapped trainable": (
        {"run_or_experiment": functools.partial(train, 3)},
        UnsupportedError,
        ("run_or_experiment", "give them by name"),
    ),
    "a grid for a searcher": (
        {
            "config": {"m": {"x": tune.grid_search([1])}},
            "search_alg": HyperOptSearch(metric="a", mode="min"),
        },
        SpecError,
        ("m.x", "HyperOptSearch"),
    ),
    "no dict": ({"config": [1]}, UnsupportedError, ("not a dict",)),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_search_gives_one_message_that_names_the_place(name):
    arguments, kind, words = BAD[name]
    with pytest.raises(kind) as caught:
        read(**{"config": SPACE, **arguments})
    assert type(caught.value) is kind
    for word in words:
        assert word in str(caught.value)
    assert "0x" not in str(caught.value)


def test_what_is_no_experiment_is_refused():
    for source in (3, "train.py", None, tune.uniform(0, 1)):
        with pytest.raises(SpecError, match="no experiment of Ray Tune"):
            DIALECT.read(source)


def test_a_live_generator_that_was_used_has_no_seed():
    np = pytest.importorskip("numpy")
    basic = Libraries(live=True).basic
    used = np.random.default_rng(3)
    assert read(search_alg=basic(random_state=np.random.default_rng(3))).seed == 3
    used.random()
    for bad in (used, np.random.RandomState(3)):
        with pytest.raises(UnsupportedError, match=r"^search_alg.*random_state"):
            read(search_alg=basic(random_state=bad))


def test_a_live_searcher_without_a_seed_has_none():
    live = Libraries(live=True)
    assert read(search_alg=live.hyperopt(metric="a", mode="min")).seed is None
    assert read(search_alg=live.hyperopt(metric="a", mode="min", random_state_seed=0)).seed == 0


def test_points_that_a_live_searcher_has_tried_are_noted():
    pytest.importorskip("ray.tune.search.hyperopt")
    hp = pytest.importorskip("hyperopt").hp
    space = {"x": hp.uniform("x", 0, 1), "c": hp.choice("c", ["a", "b"])}
    points = [{"x": 0.1, "c": "b"}, {"x": 0.2, "c": "a"}, {"x": 0.3, "c": "b"}]
    live = Libraries(live=True).hyperopt(
        space, metric="loss", mode="min", points_to_evaluate=points, random_state_seed=1
    )

    def told() -> tuple[list[Any], list[str]]:
        found = DIALECT.read({"run_or_experiment": "t.py", "search_alg": live})
        remarks = [n.what for n in found.notes if n.path.endswith("points_to_evaluate")]
        return [point.value for point in found.value.points], remarks

    assert told() == (points, [])
    live.suggest("one")
    assert told() == (points[1:], ["points that the searcher has tried are left out: 1"])
    for name in ("two", "three", "four", "five"):
        live.suggest(name)
    live.on_trial_complete("two", {"loss": 1.0})
    assert told() == ([], ["points that the searcher has tried are left out: 3"])


# A space in the searcher


def hyperopt_space(h: Any) -> dict[str, Any]:
    return {
        "lr": h.loguniform("lr", -9, -2),
        "act": h.choice("act", ["relu", "tanh"]),
        "net": {"width": h.quniform("net.width", 8, 64, 8), "kind": h.choice("k", ["a", "b"])},
    }


POINTS = [
    {"lr": 0.01, "act": "tanh", "net.width": 16.0, "k": 1},
    {"lr": 0.02, "act": "relu", "net.width": 32.0, "k": 0},
]


def test_a_space_in_the_searcher_is_read_with_its_points(library):
    searcher = library.hyperopt(
        hyperopt_space(library.hp), metric="a", mode="min", points_to_evaluate=POINTS
    )
    found = read(search_alg=searcher, config={"epochs": 3, "net": {"bias": True}})
    assert found.space_in == "searcher"
    assert set(found.searched) == {"lr", "act", "net.width", "net.kind"}
    assert found.space.get("epochs") == Constant.of(3)
    net = found.space.get("net")
    assert isinstance(net, Group)
    assert net.get("bias") == Constant.of(True)
    assert [point.value for point in found.points] == [
        {"lr": 0.01, "act": "tanh", "net": {"width": 16.0, "kind": "b"}},
        {"lr": 0.02, "act": "relu", "net": {"width": 32.0, "kind": "a"}},
    ]
    assert len(DIALECT.read({"search_alg": searcher}).notes) == 0


def test_a_space_in_the_searcher_is_written_and_suggested():
    searcher = HyperOptSearch(
        hyperopt_space(hp), metric="a", mode="min", points_to_evaluate=POINTS, random_state_seed=1
    )
    experiment = read(search_alg=searcher, config={"epochs": 3, "net": {"bias": True}})
    assert DIALECT.read(DIALECT.write(experiment).value).value == experiment
    live = live_arguments(experiment)
    assert DIALECT.read(live).value == experiment
    assert live["config"] == {"epochs": 3, "net": {"bias": True}}
    first = [live["search_alg"].suggest(str(index)) for index in range(3)]
    assert first[0] == {"lr": 0.01, "act": "tanh", "net": {"width": 16.0, "kind": "b"}}
    assert first[1] == {"lr": 0.02, "act": "relu", "net": {"width": 32.0, "kind": "a"}}
    assert first[2].keys() == {"lr", "act", "net"}


@pytest.mark.parametrize(
    ("point", "word"),
    [
        ({"lr": 0.1, "act": 0}, r"\[0\]\.act: .*lacks; found 0"),
        ({"lr": 0.1, "k": "a"}, r"\[0\]\.k: .*index of its option; found 'a'"),
        ({"lr": 0.1, "depth": 2}, r"\[0\]\.depth: .*lacks"),
    ],
)
def test_points_that_do_not_fit_are_refused(point, word):
    searcher = HyperOptSearch(
        hyperopt_space(hp), metric="a", mode="min", points_to_evaluate=[point]
    )
    with pytest.raises(SpecError, match=word):
        read(search_alg=searcher)


def test_tune_domains_in_the_searcher_are_parameters():
    found = read(search_alg=HyperOptSearch(SPACE, metric="a", mode="min"))
    assert found.space == space(lr=P(Uniform(1e-4, 1e-1, scale="log")))


def test_a_space_of_one_choice_is_refused():
    with pytest.raises(UnsupportedError, match="not a dict"):
        read(search_alg=HyperOptSearch(hp.choice("x", [1, 2]), metric="a", mode="min"))


# The Tuner


def test_a_tuner_is_read(library, tmp_path, monkeypatch):
    # Ray writes the resources on the function itself; the patch takes them away again.
    monkeypatch.setattr(train, "_resources", None, raising=False)
    t = library.tune
    tuner = t.Tuner(
        t.with_resources(train, {"cpu": 2, "gpu": 1}),
        param_space={"lr": t.uniform(0, 1)},
        tune_config=t.TuneConfig(
            metric="a", mode="max", num_samples=3, max_concurrent_trials=2, scheduler=library.asha()
        ),
        run_config=t.RunConfig(
            name="mine",
            storage_path=str(tmp_path),
            stop={"training_iteration": 4},
            failure_config=t.FailureConfig(max_failures=2),
            checkpoint_config=t.CheckpointConfig(num_to_keep=1),
        ),
    )
    found = DIALECT.read(tuner).value
    assert found == Experiment(
        space=space(lr=P(Uniform(0, 1))),
        trainable=f"{train.__module__}:train",
        objective=Objective("a", "maximize"),
        scheduler=Algorithm("AsyncHyperBandScheduler"),
        num_samples=3,
        max_concurrent=2,
        stop=Frozen({"training_iteration": 4}),
        resources=Frozen({"cpu": 2, "gpu": 1}),
        name="mine",
        extras=Frozen(
            {
                "tune": {
                    "storage_path": str(tmp_path),
                    "max_failures": 2,
                    "checkpoint_config": {"num_to_keep": 1},
                }
            }
        ),
    )


def test_a_live_tuner_has_no_name_that_it_was_not_given(tmp_path):
    t = Libraries(live=True).tune
    tuner = t.Tuner(Trainer.step, run_config=t.RunConfig(storage_path=str(tmp_path)))
    assert DIALECT.read(tuner).value.name is None


def test_a_part_of_a_tuner_has_its_class():
    with pytest.raises(SpecError, match="tune_config"):
        DIALECT.read(tune.Tuner("train.py", tune_config={"num_samples": 3}))
