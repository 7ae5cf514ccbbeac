"""What stands around a trainable and a metric: parameters, resources, several metrics."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.dialects.schema import assert_valid
from tests.dialects.tune_names import train
from tune_bridge import tune
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import build
from tune_bridge.dialects.ray_tune import live_arguments
from tune_bridge.dialects.ray_tune.runs import check_runs
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level
from tune_bridge.tune.schedulers import ASHAScheduler
from tune_bridge.tune.search.optuna import OptunaSearch

SWEEP, TUNE = get_dialect("sweep"), get_dialect("tune")
SPACE = {"lr": tune.uniform(0, 1)}


def read(run: Any = train, **arguments: Any) -> Experiment:
    return TUNE.read({"run_or_experiment": run, "config": SPACE, **arguments}).value


def everywhere(experiment: Experiment) -> None:
    """Through a sweep, and through a call of Tune as it is written."""
    written = SWEEP.write(experiment)
    assert_valid(written.value)
    assert SWEEP.read(written.value).value == experiment
    assert TUNE.read(TUNE.write(experiment).value).value == experiment
    compile(TUNE.source(experiment).value, "program", "exec")


def test_parameters_of_a_trainable_are_kept():
    wrapped = tune.with_parameters(train, data=[1, 2], optimizer=len)
    experiment = read(tune.with_resources(wrapped, {"cpu": 2}))
    assert experiment.trainable == read().trainable
    assert experiment.resources.value == {"cpu": 2}
    assert experiment.extras.value["tune"]["with_parameters"] == {
        "data": [1, 2],
        "optimizer": {"$function": "builtins:len"},
    }
    everywhere(experiment)
    assert (
        "tune.with_parameters(train, data=[1, 2], optimizer=len)" in TUNE.source(experiment).value
    )


def test_live_parameters_of_a_trainable_are_refused_with_advice():
    live = pytest.importorskip("ray.tune")
    with pytest.raises(UnsupportedError, match="does not say what it was given"):
        read(live.with_parameters(train, data=[1]))


def test_what_no_file_can_hold_is_left_out_with_a_note():
    notes = TUNE.read(
        {"run_or_experiment": tune.with_parameters(train, data=object(), epochs=3), "config": SPACE}
    )
    assert notes.value.extras.value["tune"]["with_parameters"] == {"epochs": 3}
    [note] = [note for note in notes.notes if note.path == "with_parameters.data"]
    assert note.level is Level.APPROXIMATED
    assert "object" in note.what


def test_a_partial_is_with_parameters():
    experiment = read(functools.partial(train, data=[1]))
    assert experiment == read(tune.with_parameters(train, data=[1]))
    everywhere(experiment)


def test_a_function_of_the_started_program_keeps_its_name():
    experiment = read().replace(trainable="__main__:fit")
    text = TUNE.source(experiment).value
    assert "def fit(config):" in text
    scope: dict[str, Any] = {}
    exec(compile(text.rpartition("analysis =")[0], "program", "exec"), scope)
    with pytest.raises(NotImplementedError):
        scope["fit"]({})


GROUPS: dict[str, tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]] = {
    "one bundle": (([{"CPU": 2, "GPU": 0.5}],), {}, {"cpu": 2, "gpu": 0.5}),
    "workers": (
        ([{"CPU": 1}, {"CPU": 2}],),
        {"strategy": "SPREAD"},
        {"bundles": [{"CPU": 1}, {"CPU": 2}], "strategy": "SPREAD"},
    ),
    "an empty head": (([{}, {"CPU": 2}],), {}, {"bundles": [{}, {"CPU": 2}]}),
    "one bundle spread": (
        ([{"CPU": 1}], "STRICT_PACK"),
        {},
        {"bundles": [{"CPU": 1}], "strategy": "STRICT_PACK"},
    ),
}


@pytest.mark.parametrize("name", GROUPS)
def test_a_placement_group_is_kept(name):
    args, kwargs, expected = GROUPS[name]
    experiment = read(resources_per_trial=tune.PlacementGroupFactory(*args, **kwargs))
    assert experiment.resources.value == expected
    everywhere(experiment)
    if "bundles" in expected:
        with pytest.raises(UnsupportedError, match=r"^resources_per_trial: .*placement group"):
            check_runs(experiment)


@pytest.mark.parametrize("name", GROUPS)
def test_a_live_placement_group_is_read_alike_and_comes_back(name):
    live = pytest.importorskip("ray.tune")
    args, kwargs, expected = GROUPS[name]
    experiment = read(resources_per_trial=live.PlacementGroupFactory(*args, **kwargs))
    assert experiment.resources.value == expected
    if "bundles" in expected:
        written = TUNE.write(experiment).value.arguments["resources_per_trial"]
        assert build(written) == live.PlacementGroupFactory(*args, **kwargs)


def test_bundles_that_are_none_are_refused():
    with pytest.raises(UnsupportedError, match="resources that are no amounts"):
        read(resources_per_trial=tune.PlacementGroupFactory(3))
    written = SWEEP.write(
        read(resources_per_trial=tune.PlacementGroupFactory([{"CPU": 1}, {}]))
    ).value
    written["controller"]["tune"]["resources_per_trial"]["other"] = 1
    with pytest.raises(SpecError, match="no argument 'other'"):
        TUNE.write(SWEEP.read(written).value)


def test_several_metrics_stay_with_the_searcher():
    searcher = OptunaSearch(metric=["loss", "size"], mode=["min", "max"])
    experiment = read(search_alg=searcher, scheduler=ASHAScheduler(metric="loss", mode="min"))
    assert (experiment.objective.name, experiment.objective.goal) == ("loss", "minimize")
    assert experiment.searcher.arg("metric") == ["loss", "size"]
    everywhere(experiment)
    pytest.importorskip("ray.tune")
    pytest.importorskip("optuna")
    arguments = live_arguments(experiment)
    assert "metric" not in arguments
    assert arguments["search_alg"].metric == ["loss", "size"]
    assert arguments["scheduler"]._metric == "loss"
    assert TUNE.read(arguments).value == experiment


@pytest.mark.parametrize(
    ("searcher", "kind", "words"),
    [
        (OptunaSearch(metric=["a", "b"], mode="min"), SpecError, "as many modes"),
        (OptunaSearch(metric=["a", 3], mode=["min", "max"]), SpecError, "several metrics"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(searcher, kind, words):
    with pytest.raises(kind, match=words):
        read(search_alg=searcher)
    with pytest.raises(UnsupportedError, match="where Ray takes one"):
        read(metric=["a", "b"], mode="min")


def test_an_old_experiment_is_not_gone_on_with():
    with pytest.raises(UnsupportedError, match="resume_config"):
        read(resume_config={"finished": "skip"})
