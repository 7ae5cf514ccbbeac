"""The documents that wandb 0.8 to 0.10 wrote, in the form that their source wrote them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_bridge import SweepConfig
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.sweep import yaml_file
from tune_bridge.errors import InputError, UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level
from tune_bridge.space import Choice, Constant, Group, Integers, Normal, Parameter, Uniform
from tune_bridge.testing.strategies import conditional_spaces, experiments, spaces
from tune_bridge.testing.translations import flat, same_law

DOCUMENT = """
program: train.py
tune:
  _wandb:
    seed: 123
    versions: {hyperopt: 0.2.1, tune: 0.7.6, wandb: 0.10.12}
  num_samples: 10
  run_or_experiment: train.py
  scheduler:
    AsyncHyperBandScheduler: {grace_period: 2, max_t: 50, metric: mean_loss, mode: min}
  search_alg:
    hyperopt.HyperOptSearch:
      max_concurrent: 2
      metric: mean_loss
      mode: min
      space:
        activation:
          hyperopt.hp.choice:
          - activation
          - [relu, tanh]
        height:
          hyperopt.hp.uniform: [width, -100, 100]
        width:
          hyperopt.hp.uniform:
            args: [width]
            kwargs: {high: 20, low: 0}
        lr:
          hyperopt.loguniform: {max_bound: 0.1, min_bound: 0.001}
"""


def test_a_document_is_read() -> None:
    experiment = SweepConfig.from_yaml(DOCUMENT).experiment
    assert experiment.searched == {
        "activation": Choice((Constant.of("relu"), Constant.of("tanh"))),
        "height": Parameter(Uniform(-100, 100)),
        "width": Parameter(Uniform(0, 20)),
        "lr": Parameter(Uniform(0.001, 0.1, scale="log")),
    }
    assert experiment.searcher.kind == "HyperOptSearch"
    assert experiment.scheduler is not None
    assert experiment.scheduler.arg("grace_period") == 2
    assert (experiment.program, experiment.num_samples, experiment.seed) == ("train.py", 10, 123)
    assert experiment.max_concurrent == 2
    assert experiment.objective is not None
    assert (experiment.objective.name, experiment.objective.goal) == ("mean_loss", "minimize")


def test_it_becomes_a_sweep_of_today() -> None:
    old = SweepConfig.from_yaml(DOCUMENT)
    assert any("ignored" in note.why for note in old.notes)
    new = SweepConfig.from_experiment(old.experiment)
    assert new["method"] == "bayes"
    assert new["early_terminate"] == {"type": "hyperband", "min_iter": 2, "eta": 4}
    assert SweepConfig.from_yaml(new.to_yaml()).experiment == old.experiment


def test_a_reward_is_maximised() -> None:
    text = DOCUMENT.replace("metric: mean_loss\n      mode: min", "reward_attr: acc").replace(
        ", metric: mean_loss, mode: min", ""
    )
    objective = SweepConfig.from_yaml(text).experiment.objective
    assert objective is not None
    assert (objective.name, objective.goal) == ("acc", "maximize")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("hyperopt.hp.choice", "hyperopt.hp.guess", "unknown function"),
        ("[width, -100, 100]", "7", "not the arguments of a call"),
        ("[width, -100, 100]", "[width]", "missing a required argument"),
        ("min_bound: 0.001", "min_bound: -1", "positive bounds"),
        ("grace_period: 2", "grace: 2", "unexpected keyword argument"),
    ],
)
def test_a_damaged_document_has_one_clear_error(old: str, new: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        SweepConfig.from_yaml(DOCUMENT.replace(old, new), "old.yaml")
    assert str(caught.value).startswith("old.yaml:")
    assert caught.value.path.startswith("tune.")


def test_tune_must_be_a_record() -> None:
    with pytest.raises(InputError, match=r"tune: not a recorded tune\.run"):
        SweepConfig.from_yaml("tune: 3\n")


# Writing ------------------------------------------------------------------------------------------


def test_a_document_is_written_back() -> None:
    experiment = SweepConfig.from_yaml(DOCUMENT).experiment
    written = get_dialect("legacy").write(experiment)
    assert yaml_file.load(yaml_file.dump(written.value)).data == written.value
    assert written.value["tune"]["search_alg"] == {
        "hyperopt.HyperOptSearch": {
            "space": {
                "activation": {"hyperopt.hp.choice": ["activation", ["relu", "tanh"]]},
                "height": {"hyperopt.hp.uniform": ["height", -100, 100]},
                "width": {"hyperopt.hp.uniform": ["width", 0, 20]},
                "lr": {"tune.loguniform": {"min_bound": 0.001, "max_bound": 0.1}},
            },
            "metric": "mean_loss",
            "mode": "min",
            "max_concurrent": 2,
        }
    }
    assert written.value["tune"]["_wandb"]["seed"] == 123
    assert SweepConfig(written.value).experiment == experiment
    # What the old version ignored is named, and nothing else is.
    worse = {note.path for note in written.notes if note.level > Level.EXACT}
    assert worse == {"scheduler", "max_concurrent"}


def test_a_random_search_is_exact() -> None:
    space = Group(
        (
            ("a", Parameter(Uniform(0, 1))),
            ("b", Parameter(Uniform(1e-3, 10, "log"))),
            ("c", Parameter(Integers(1, 6))),
            ("d", Choice((Constant.of("x"), Constant.of("y")), (0.25, 0.75))),
            ("e", Parameter(Normal())),
            ("f", Constant.of(3)),
        )
    )
    experiment = Experiment(space=space, program="t.py", num_samples=20)
    written = get_dialect("legacy").write(experiment)
    assert written.notes.worst is Level.EXACT
    assert written.value["tune"]["config"] == {
        "a": {"tune.uniform": [0, 1]},
        "b": {"tune.loguniform": {"min_bound": 0.001, "max_bound": 10.0}},
        "c": {"tune.randint": {"low": 1, "high": 7}},
        "d": {"tune.choice": {"a": ["x", "y"], "p": [0.25, 0.75]}},
        "e": {"tune.randn": {}},
        "f": 3,
    }
    assert get_dialect("legacy").read(written.value).value == experiment


@pytest.mark.parametrize("space", [spaces, conditional_spaces])
@given(data=st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_not_said_carries_a_note(space: Any, data: st.DataObject) -> None:
    experiment = data.draw(experiments(space))
    dialect = get_dialect("legacy")
    try:
        written = dialect.write(experiment)
    except UnsupportedError:
        return
    again = dialect.read(written.value).value
    text = yaml_file.load(yaml_file.dump(written.value)).data
    assert dialect.read(text).value == again
    below = {note.path for note in written.notes if note.level > Level.EXACT}
    found = flat(again.space)
    for path, node in flat(experiment.space).items():
        assert same_law(node, found[path]) or any(p.startswith(".".join(path)) for p in below), path
    for name in ("objective", "searcher", "scheduler", "num_samples", "stop", "points", "seed"):
        if name not in below:
            assert getattr(again, name) == getattr(experiment, name), name
