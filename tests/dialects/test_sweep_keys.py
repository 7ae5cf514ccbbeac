"""Every key of a sweep, one by one: kept, carried to Ray and back, and judged as W&B judges."""

from __future__ import annotations

from typing import Any

import pytest
import sweeps
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.schema import assert_valid
from tune_bridge.command import MACROS
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.sweep import SweepDialect
from tune_bridge.errors import SpecError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.explain import rungs
from tune_bridge.notes import Level
from tune_bridge.space import Choice, Constant, Integers, Parameter, Uniform
from tune_bridge.testing.algorithms import hyperbands
from tune_bridge.values import Frozen, same_data

SWEEP, TUNE = SweepDialect(), get_dialect("tune")
BASE: dict[str, Any] = {
    "program": "train.py",
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"distribution": "uniform", "min": 0, "max": 1}},
}

KEPT: list[dict[str, Any]] = [
    {"metric": {"name": "loss", "goal": "maximize"}},
    {"metric": {"name": "loss", "goal": "minimize", "target": 0.5}},
    {"metric": {"name": "loss", "goal": "minimize", "target": 0}},
    *({"metric": {"name": "val/acc", "goal": "maximize", "impute": how}}
      for how in ("best", "worst", "latest")),
    {"metrics": [{"name": "a", "goal": "minimize"}, {"name": "b", "goal": "maximize"}]},
    {"early_terminate": {"type": "hyperband", "min_iter": 3}},
    {"early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 2, "strict": True}},
    {"early_terminate": {"type": "hyperband", "max_iter": 27, "s": 2}},
    {"early_terminate": {"type": "hyperband", "max_iter": 27, "s": 2, "eta": 2.5}},
    {"run_cap": 7},
    {"name": "a sweep"},
    {"description": "what it is: for\nand more"},
    {"project": "p", "entity": "e"},
    {"settings": {"silent": True}},
    {"controller": {"type": "local"}},
    {"scheduler": {"job": "a/b:latest", "num_workers": 4, "engine": "optuna"}},
    {"job": "a/b/c:latest"},
    {"image_uri": "registry/image:tag"},
    {"apiVersion": "1", "kind": "sweep"},
    {"unknown": {"deep": [1, {"x": None}]}},
    {"command": ["${env}", "${interpreter}", "${program}", "${args}"]},
    {"command": ["python", "-m", "pkg", "--epochs=3", "${args_json_file}", "${envvar:HOME}"]},
]  # fmt: skip


@pytest.mark.parametrize("changes", KEPT, ids=lambda c: "-".join(c))
def test_a_key_is_kept(changes: dict[str, Any]) -> None:
    config = {**BASE, **changes}
    experiment = SWEEP.read(config).value
    written = SWEEP.write(experiment).value
    assert same_data({key: written.get(key) for key in changes}, changes)
    assert SWEEP.read(written).value == experiment


@pytest.mark.parametrize("changes", KEPT, ids=lambda c: "-".join(c))
def test_a_key_that_ray_has_no_word_for_has_a_note(changes: dict[str, Any]) -> None:
    experiment = SWEEP.read({**BASE, **changes}).value
    written = TUNE.write(experiment)
    back = TUNE.read(written.value).value
    assert back == experiment or written.notes.worst > Level.EXACT


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"metric": {"goal": "minimize"}}, "metric", "no name"),
        ({"metric": {"name": "a", "goal": "minimise"}}, "metric.goal", "'minimize'"),
        ({"metric": {"name": "a", "target": "0.1"}}, "metric.target", "not a number"),
        ({"metric": "loss"}, "metric", "no name"),
        ({"method": "bayes", "metric": None}, "metric", "needs a metric"),
        ({"early_terminate": {"type": "median"}}, "early_terminate.type", "hyperband"),
        ({"early_terminate": {"type": "hyperband"}}, "early_terminate", "min_iter, or max_iter"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 0}}, "early_terminate.min_iter",
         "too small"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 3}}, "early_terminate", "and s"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 1}},
         "early_terminate.eta", "above 1"),
        ({"run_cap": 0}, "run_cap", "too small"),
        ({"run_cap": 1.5}, "run_cap", "whole number"),
        ({"run_cap": True}, "run_cap", "whole number"),
        ({"command": "python train.py"}, "command", "not a list"),
        ({"command": [{"a": 1}]}, "command[0]", "not text"),
        ({"program": ["a"]}, "program", "not text"),
        ({"name": ""}, "name", "not text"),
        ({"controller": {"type": "moon"}}, "controller", "cloud or local"),
        ({"parameters": {}}, "parameters", "something in it"),
        ({"parameters": None}, "parameters", "something in it"),
    ],
)  # fmt: skip
def test_a_malformed_key_is_named(changes: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        SWEEP.read({**BASE, **changes})
    assert caught.value.path == path
    assert words in str(caught.value)


IMPLIED: list[tuple[dict[str, Any], Any]] = [
    ({"value": 3}, Constant.of(3)),
    ({"value": None}, Constant.of(None)),
    ({"value": [1, {"a": 2}]}, Constant.of([1, {"a": 2}])),
    ({"values": [1, 2.5, "a"]}, Choice(tuple(map(Constant.of, (1, 2.5, "a"))))),
    ({"min": 1, "max": 8}, Parameter(Integers(1, 8))),
    ({"min": 1.0, "max": 8}, Parameter(Uniform(1, 8))),
    ({"min": 0, "max": 0.5}, Parameter(Uniform(0, 0.5))),
    ({"values": [1, 2], "probabilities": [0.25, 0.75]},
     Choice((Constant.of(1), Constant.of(2)), (0.25, 0.75))),
    ({"distribution": "normal"}, None),
    ({"distribution": "q_uniform", "min": 0, "max": 9}, Parameter(Uniform(0, 9, q=1.0))),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "node"), IMPLIED, ids=lambda value: str(value)[:40])
def test_implied_distributions_are_those_of_wandb(spec: dict[str, Any], node: Any) -> None:
    from sweeps.config.schema import fill_parameter

    filled = fill_parameter("x", spec)
    assert filled is not None, "W&B's schema knows no such parameter"
    ours = SWEEP.read({**BASE, "parameters": {"x": spec}}).value.space.get("x")
    explicit = SWEEP.read({**BASE, "parameters": {"x": filled[1]}}).value.space.get("x")
    assert ours == explicit
    if node is not None:
        assert ours == node


@given(hyperbands(), st.integers(0, 60))
def test_bands_are_those_of_wandb(scheduler: Algorithm, length: int) -> None:
    args = {key: v for key, v in scheduler.args.value.items() if key != "strict"}
    if "s" not in args:
        # The package ends with a KeyError there; min_iter is what is left.
        args.pop("max_iter", None)
    config = {**BASE, "early_terminate": {"type": "hyperband", **args}}
    run = sweeps.SweepRun(name="a", state=sweeps.RunState.running, history=[{"loss": 1.0}] * length)
    ours = rungs(scheduler)
    assert ours is not None
    if not ours:
        with pytest.raises(ValueError, match="at least 1"):
            sweeps.stop_runs(config, [run])
        return
    sweeps.stop_runs(config, [run])
    theirs = run.early_terminate_info["bands"]
    assert ours == sorted(set(theirs))[: len(ours)]


@given(hyperbands())
def test_hyperband_goes_to_ray_with_its_bands(scheduler: Algorithm) -> None:
    space = SWEEP.read(BASE).value.space
    experiment = Experiment(space=space, objective=Objective("loss"), scheduler=scheduler)
    written = TUNE.write(experiment)
    call = written.value.arguments["scheduler"]
    assert call.name == "ASHAScheduler"
    asha = rungs(Algorithm("AsyncHyperBandScheduler", Frozen(call.arguments)))
    bands = rungs(scheduler)
    assert asha is not None
    assert bands is not None
    if scheduler.arg("s") is None:
        assert asha[: len(bands)] == bands
    assert written.notes.worst is Level.APPROXIMATED


@pytest.mark.parametrize("macro", MACROS)
def test_every_macro_survives_the_trip(macro: str) -> None:
    command = ["${env}", f"${{{macro}}}", "--x=1"]
    experiment = SWEEP.read({**BASE, "command": command}).value
    assert list(experiment.command or ()) == command
    assert SWEEP.write(experiment).value["command"] == command


def test_what_is_kept_is_valid_for_wandb() -> None:
    known = ("metric", "early_terminate", "name", "description", "controller", "command", "project")
    for changes in KEPT:
        if all(key in known for key in changes):
            assert_valid(SWEEP.write(SWEEP.read({**BASE, **changes}).value).value)
