"""The recording twins have the names and the signatures of Ray Tune and HyperOpt."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest

from tests.corpus import SEED
from tune_bridge.dialects.calls import Call, Signature, build
from tune_bridge.dialects.hyperopt.signatures import LAWS
from tune_bridge.dialects.hyperopt.signatures import SIGNATURES as HYPEROPT
from tune_bridge.dialects.ray_tune.signatures import OWN
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES as TUNE
from tune_bridge.dialects.ray_tune.tables import CLASSES, MODULES
from tune_bridge.errors import SpecError

Shape = dict[str, tuple[Any, Any]]


def _shape(parameters: inspect.Signature) -> Shape:
    """Kind and default of each public parameter."""
    return {
        name: (parameter.kind, parameter.default)
        for name, parameter in parameters.parameters.items()
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    "signature", [s for name, s in TUNE.items() if name not in CLASSES], ids=repr
)
def test_the_signatures_of_ray_are_ours(signature):
    pytest.importorskip("ray.tune")
    real = _shape(inspect.signature(signature.resolve()))
    ours = _shape(signature.signature)
    if "base" in ours:
        # Ray marks its deprecated base with an object of its own.
        del real["base"], ours["base"]
    assert ours == real


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_the_signatures_of_hyperopts_laws_are_ours(law):
    stochastic = pytest.importorskip("hyperopt.pyll.stochastic")
    real = _shape(
        inspect.signature(
            getattr(stochastic, law.name.replace("int", ""), None) or stochastic.quniform
        )
    )
    ours = _shape(HYPEROPT[f"hp.{law.name}"].signature)
    for name in ("rng", "size"):
        del real[name]
    if law.name == "uniformint":
        assert list(ours) == ["label", "low", "high", "q"]
    else:
        assert list(ours.items())[1:] == list(real.items())
    assert next(iter(ours)) == "label"


def test_the_signatures_of_hyperopts_other_functions_are_ours():
    pytest.importorskip("hyperopt")
    from hyperopt.pyll import stochastic

    for name in ("hp.choice", "hp.pchoice", "fmin", "tpe.suggest"):
        real = _shape(inspect.signature(HYPEROPT[name].resolve()))
        assert _shape(HYPEROPT[name].signature) == real
    randint = _shape(HYPEROPT["hp.randint"].signature)
    real = _shape(inspect.signature(stochastic.randint))
    assert {k: v for k, v in randint.items() if k != "label"} == {
        k: v for k, v in real.items() if k not in ("rng", "size")
    }


def test_every_function_of_hp_has_a_twin():
    real = pytest.importorskip("hyperopt").hp
    twin = importlib.import_module("tune_bridge.hyperopt.hp")
    assert {name for name in dir(real) if not name.startswith("_")} - {"division"} == set(
        twin.__all__
    )


TWINS = {
    "tune_bridge.tune": [
        *(name.split(".")[1] for name in TUNE if name.startswith("tune.")),
        "create_scheduler",
        "create_searcher",
    ],
    "tune_bridge.tune.search": ["BasicVariantGenerator", "ConcurrencyLimiter", "Repeater"],
    "tune_bridge.tune.suggest": ["BasicVariantGenerator", "ConcurrencyLimiter", "Repeater"],
    **{
        f"tune_bridge.tune.{package}.{module}": list(names)
        for package in ("search", "suggest")
        for module, names in MODULES.items()
    },
    "tune_bridge.tune.schedulers": [n for n, t in CLASSES.items() if t.role == "scheduler"],
    "tune_bridge.tune.stopper": [n for n, t in CLASSES.items() if t.role == "stopper"],
    "tune_bridge.tune.domains": [name.split(".")[1] for name in OWN],
    "tune_bridge.hyperopt.hp": [name[3:] for name in HYPEROPT if name.startswith("hp.")],
    "tune_bridge.hyperopt": ["fmin", "hp", "pyll", "rand", "tpe"],
    "tune_bridge.hyperopt.pyll": ["scope"],
}


@pytest.mark.parametrize("module", TWINS)
def test_a_twin_has_its_names(module):
    twin = importlib.import_module(module)
    assert sorted(twin.__all__) == sorted(TWINS[module])
    for name in TWINS[module]:
        assert getattr(twin, name) is not None


@pytest.mark.parametrize(
    "name", [name for name in TUNE if name.startswith("tune.") and name != "tune.run"]
)
def test_a_twin_records_a_call(name):
    twin = getattr(importlib.import_module("tune_bridge.tune"), name.split(".")[1])
    assert inspect.signature(twin) == TUNE[name].signature
    assert twin.__doc__
    required = [
        parameter.name
        for parameter in TUNE[name].signature.parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    call = twin(*range(len(required)))
    assert isinstance(call, Call)
    assert call.name == name
    assert list(call.arguments.values()) == list(range(len(required)))
    with pytest.raises(TypeError, match=name):
        twin(no_such_argument=1) if name != "tune.with_parameters" else twin()


def test_scope_records_operations_that_no_reader_knows():
    from tune_bridge.hyperopt.pyll import scope

    assert repr(scope.int(3)) == "scope.int(3)"
    assert repr(scope.sub(3, 4, key=5)) == "scope.sub(3, 4, key=5)"
    with pytest.raises(AttributeError):
        scope.__wrapped__  # noqa: B018


def test_the_old_place_of_hyperopt_search_knows_the_old_limit():
    from tune_bridge.tune.suggest.hyperopt import HyperOptSearch

    assert HyperOptSearch({}, metric="a").name == "HyperOptSearch"
    limited = HyperOptSearch({}, metric="a", max_concurrent=4)
    assert limited.name == "ConcurrencyLimiter"
    assert limited.get("max_concurrent") == 4
    assert limited.get("searcher").get("metric") == "a"


def test_searchers_and_schedulers_are_created_by_their_strings():
    twin = importlib.import_module("tune_bridge.tune")
    assert twin.create_searcher("Optuna", seed=3).get("seed") == 3
    assert twin.create_scheduler("pb2").name == "PB2"
    assert twin.schedulers.PB2().name == twin.schedulers.PB2.__name__ == "PB2"
    with pytest.raises(SpecError, match="no searcher called 'optun'"):
        twin.create_searcher("optun")


def test_a_bare_signature_is_built_as_the_callable_itself():
    signature = Signature("sqrt", "math", "x")
    import math

    assert build({"f": [signature], "x": signature.call(4)}) == {"f": [math.sqrt], "x": 2.0}


LOADED = """
import sys
assert not {"ray", "hyperopt", "wandb", "numpy", "pandas"} & set(sys.modules)
"""


def test_the_first_example_runs_and_loads_no_library(tmp_path):
    (tmp_path / "example.py").write_text(SEED + LOADED)
    subprocess.run([sys.executable, "example.py"], check=True, cwd=tmp_path)
    text = (tmp_path / "sweep-hyperopt.yaml").read_text()
    for part in ("method: bayes", "program: train.py", "mean_loss", "run_cap: 10", "tanh"):
        assert part in text


def test_a_parameter_without_a_label_names_the_function():
    from tune_bridge.hyperopt import hp

    with pytest.raises(SpecError, match=r"^hp.choice: hp.choice needs a label; found \[1, 2\]"):
        hp.choice([1, 2])
