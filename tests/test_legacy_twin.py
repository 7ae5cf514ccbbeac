"""The names of the old package, compared with documents as wandb 0.10.12 wrote them."""

from __future__ import annotations

import sys

import pytest

from tune_bridge import legacy
from tune_bridge.dialects.legacy import RUN
from tune_bridge.errors import InputError
from tune_bridge.legacy import AsyncHyperBandScheduler, HyperOptSearch, hp, tune
from tune_bridge.space import Choice, Constant, Parameter, Uniform


def test_a_search_as_the_old_example_has_it() -> None:
    config = tune.run(
        "train-tune.py",
        search_alg=HyperOptSearch(
            {
                "width": hp.uniform("width", 0, 20),
                "height": hp.uniform("width", -100, 100),
                "lr": hp.loguniform(0.001, 0.1, base=2),
                "activation": hp.choice("activation", ["relu", "tanh"]),
            },
            metric="mean_loss",
            mode="min",
        ),
        scheduler=AsyncHyperBandScheduler(metric="mean_loss", mode="min", max_t=50),
        num_samples=10,
    )
    experiment = config.experiment
    assert experiment.searched == {
        "width": Parameter(Uniform(0, 20)),
        "height": Parameter(Uniform(-100, 100)),
        "lr": Parameter(Uniform(0.001, 0.1, "log")),
        "activation": Choice((Constant.of("relu"), Constant.of("tanh"))),
    }
    assert (experiment.program, experiment.num_samples) == ("train-tune.py", 10)
    assert experiment.objective is not None
    assert (experiment.objective.name, experiment.objective.goal) == ("mean_loss", "minimize")
    assert experiment.scheduler is not None
    assert experiment.scheduler.arg("max_t") == 50
    assert config["method"] == "bayes"


def test_what_hyperopt_search_recorded() -> None:
    # Compared with what wandb 0.10.12 itself returned for these calls.
    assert hp.uniform("x", low=0, high=2) == {
        "hyperopt.hp.uniform": {"args": ["x"], "kwargs": {"low": 0, "high": 2}}
    }
    assert hp.uniform("x", 0, 2) == {"hyperopt.hp.uniform": ["x", 0, 2]}
    assert hp.loguniform(1, 10) == {"hyperopt.loguniform": {"min_bound": 1, "max_bound": 10}}
    assert tune.uniform(0, 1) == {"tune.uniform": [0, 1]}
    assert tune.loguniform(1, 10, 10) == {
        "tune.loguniform": {"min_bound": 1, "max_bound": 10, "base": 10}
    }
    assert HyperOptSearch({}, max_concurrent=4, gamma=0.3) == {
        "hyperopt.HyperOptSearch": {"space": {}, "max_concurrent": 4, "gamma": 0.3}
    }


def test_a_random_search() -> None:
    config = tune.run("t.py", config={"a": tune.uniform(0, 1), "b": tune.loguniform(1, 8), "c": 3})
    assert config["method"] == "random"
    assert config["parameters"]["b"] == {
        "distribution": "log_uniform_values", "min": 1.0, "max": 8.0
    }  # fmt: skip
    assert config.experiment.num_samples is None


def test_a_reward_and_a_limit() -> None:
    search = HyperOptSearch({"x": hp.uniform("x", 0, 1)}, max_concurrent=3, reward_attr="acc")
    experiment = tune.run("t.py", search_alg=search).experiment
    assert experiment.objective is not None
    assert (experiment.objective.name, experiment.objective.goal) == ("acc", "maximize")
    assert experiment.max_concurrent == 3


def test_defaults_of_that_time() -> None:
    search = HyperOptSearch({"x": hp.uniform("x", 0, 1)})
    goal = tune.run("t.py", search_alg=search).experiment.objective
    assert goal is not None
    assert (goal.name, goal.goal) == ("episode_reward_mean", "maximize")
    search = HyperOptSearch({"x": hp.uniform("x", 0, 1)}, metric="score")
    goal = tune.run("t.py", search_alg=search).experiment.objective
    assert goal is not None
    assert (goal.name, goal.goal) == ("score", "maximize")


def test_every_argument_of_that_time_is_taken() -> None:
    ignored = ["loggers", "upload_dir", "with_server", "return_trials", "ray_auto_init"]
    config = tune.run("t.py", config={"a": tune.uniform(0, 1)}, **dict.fromkeys(ignored, 1))
    assert {note.path for note in config.notes} >= set(ignored)
    assert list(RUN.signature.parameters)[:4] == ["run_or_experiment", "name", "stop", "config"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'metric'"):
        tune.run("t.py", metric="loss")


def test_methods_of_the_config(tmp_path) -> None:
    config = tune.run("t.py", config={"a": tune.uniform(0, 1)})
    assert config.set(name="old", settings={"agent_report_interval": 0}, local=True) is config
    assert (config["name"], config["settings"]) == ("old", {"agent_report_interval": 0})
    assert config["controller"]["type"] == "local"
    assert config.data["name"] == "old"
    with pytest.warns(UserWarning, match="no colour"):
        config.set(colour=1)
    config.set_name("x").set_settings({"a": 1}).set_local().save(str(tmp_path / "s.yaml"))
    assert (tmp_path / "s.yaml").read_text() == str(config)


def test_mistakes_have_one_clear_error() -> None:
    def run(space):
        return tune.run("t.py", search_alg=HyperOptSearch(space, metric="a", mode="min"))

    with pytest.raises(InputError, match="loguniform took no label"):
        run({"lr": hp.loguniform("lr", 0.1, 1)})
    with pytest.raises(InputError, match=r"hyperopt\.hp\.uniform without a label"):
        run({"lr": hp.uniform(0.1, 1)})
    with pytest.raises(InputError, match="log scale needs positive bounds"):
        run({"lr": hp.loguniform(0, 1)})


def test_the_modules_of_the_package() -> None:
    found = legacy.modules("old_config")
    assert set(found) == {
        "old_config", "old_config.cfg", "old_config.tune",
        "old_config.tune.tune", "old_config.tune.schedulers",
        "old_config.tune.schedulers.async_hyperband", "old_config.tune.suggest",
        "old_config.tune.suggest.hyperopt", "old_config.hyperopt",
        "old_config.hyperopt.hp",
    }  # fmt: skip
    sys.modules.update(found)
    try:
        scope: dict = {}
        exec(  # the imports of the example in wandb 0.10.12
            "from old_config import tune, SweepConfig\n"
            "from old_config.hyperopt import hp\n"
            "from old_config.tune.schedulers import AsyncHyperBandScheduler\n"
            "from old_config.tune.suggest.hyperopt import HyperOptSearch\n"
            "import old_config.tune.suggest.hyperopt\n",
            scope,
        )
    finally:
        for name in found:
            del sys.modules[name]
    assert scope["hp"] is hp
    assert scope["tune"].run is tune.run
    assert scope["HyperOptSearch"] is HyperOptSearch
