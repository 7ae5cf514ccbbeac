"""The documents that wandb 0.8 to 0.10 wrote, in the form that their source wrote them."""

from __future__ import annotations

import math

import pytest

from tune_bridge import SweepConfig
from tune_bridge.errors import InputError
from tune_bridge.space import Choice, Constant, Parameter, Uniform

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
        "lr": Parameter(Uniform(math.log(0.001), math.log(0.1), scale="log", exponents=True)),
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
