"""Functions in a space: carried by name, imported only where live objects are made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.schema import assert_valid
from tune_bridge import tune
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import build
from tune_bridge.dialects.ray_tune import live_arguments
from tune_bridge.dialects.references import importable, reference
from tune_bridge.dialects.sweep import yaml_file
from tune_bridge.dialects.sweep.folding import fold
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.hyperopt import hp
from tune_bridge.notes import Level
from tune_bridge.space import Choice, Constant, Group, Operation
from tune_bridge.values import Frozen, Reference

SWEEP, TUNE, HYPEROPT = (get_dialect(name) for name in ("sweep", "tune", "hyperopt"))
HERE = __name__


def twice_lr(config: dict[str, Any]) -> float:
    """A function of the configuration."""
    return float(config["lr"] * 2)


def relu(value: float) -> float:
    """One that a program searches over."""
    return max(0.0, value)


class Model:
    """A class that a program searches over."""


CONFIG = {
    "lr": tune.uniform(0, 1),
    "twice": tune.sample_from(twice_lr),
    "act": tune.choice([relu, "tanh"]),
    "model": Model,
    "deep": {"functions": [relu, {"m": Model}]},
}


def read(config: dict[str, Any] = CONFIG, **more: Any) -> Experiment:
    return TUNE.read({"run_or_experiment": "a.py", "config": config, **more}).value


def test_functions_are_read_as_names():
    space = read().space
    assert space.get("twice") == Operation(
        "sample_from", (Constant.of(Reference(f"{HERE}:twice_lr")),)
    )
    assert space.get("act") == Choice((Constant.of(Reference(f"{HERE}:relu")), Constant.of("tanh")))
    assert space.get("model") == Constant.of(Reference(f"{HERE}:Model"))
    assert Constant.of(Reference("a:b")) != Constant.of("a:b")


def test_live_functions_are_read_alike_and_come_back():
    live = pytest.importorskip("ray.tune")
    config = {
        **CONFIG,
        "lr": live.uniform(0, 1),
        "twice": live.sample_from(twice_lr),
        "act": live.choice([relu, "tanh"]),
    }
    experiment = read()
    assert read(config) == experiment
    built = live_arguments(experiment)["config"]
    assert built["twice"].func is twice_lr
    assert built["act"].categories == [relu, "tanh"]
    assert built["model"] is Model
    assert built["deep"] == {"functions": [relu, {"m": Model}]}


def test_functions_are_carried_by_name():
    experiment = read()
    written = SWEEP.write(experiment)
    assert_valid(written.value)
    assert written.value["parameters"]["act"]["values"] == [f"{HERE}:relu", "tanh"]
    assert written.notes.worst is Level.CARRIED
    text = SWEEP.source(experiment).value
    assert SWEEP.read(yaml_file.load(text, "s.yaml")).value == experiment
    assert f"$import: {HERE}:relu" in text


def test_programs_import_what_they_name():
    text = TUNE.source(read()).value
    module = HERE
    assert f"from {module} import Model, relu, twice_lr" in text
    assert '"twice": tune.sample_from(twice_lr)' in text
    names: dict[str, Any] = {"__name__": "imported"}
    exec(compile(text, "program", "exec"), names)
    assert SWEEP.read(names["config"]).value.space == read().space
    space = HYPEROPT.read({"act": hp.choice("act", [relu, len]), "model": Model}).value
    source = HYPEROPT.source(space).value
    assert f"from {module} import Model, relu\n" in source
    assert "[relu, len]" in source
    pytest.importorskip("hyperopt")
    assert HYPEROPT.read(build(HYPEROPT.write(space).value)).value == space


def _closure() -> Any:
    def inside(config: Any) -> None: ...

    return inside


BAD = {
    "a lambda": (lambda config: 1, "a lambda has no name"),
    "a closure": (_closure(), "a function inside a function"),
    "another's name": (type("Model", (), {"__module__": HERE}), "has another Model"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("wrap", [tune.sample_from, lambda f: f, lambda f: tune.choice([f])])
def test_a_function_without_a_name_is_refused_with_advice(name, wrap):
    function, words = BAD[name]
    with pytest.raises(UnsupportedError, match=words) as caught:
        read({"x": wrap(function)})
    assert "x" in caught.value.path
    assert "top level of a module of its own" in caught.value.hint


def test_a_function_of_the_started_program_is_refused(monkeypatch):
    monkeypatch.setattr(relu, "__module__", "__main__")
    with pytest.raises(UnsupportedError, match="of the program that was started"):
        read({"x": tune.sample_from(relu)})
    scheduler = tune.schedulers.PopulationBasedTraining(custom_explore_fn=relu)
    with pytest.raises(UnsupportedError, match=r"custom_explore_fn: .*program that was started"):
        read({"x": tune.uniform(0, 1)}, scheduler=scheduler, metric="loss", mode="min")


def test_an_explore_function_is_carried_by_name():
    scheduler = tune.schedulers.PopulationBasedTraining(custom_explore_fn=twice_lr)
    experiment = read({"x": tune.uniform(0, 1)}, scheduler=scheduler, metric="loss", mode="min")
    assert SWEEP.read(SWEEP.write(experiment).value).value == experiment
    assert f"import {twice_lr.__name__}" in TUNE.source(experiment).value


EVIL = """
import pathlib
pathlib.Path({mark!r}).touch()
def f(config): return 1
"""


def test_a_file_imports_nothing_until_live_objects_are_asked_for(tmp_path: Path) -> None:
    """Reading, explaining, converting, sampling and folding do not import what a sweep names."""
    mark = tmp_path / "imported"
    (tmp_path / "evil.py").write_text(EVIL.format(mark=str(mark)))
    sweep = tmp_path / "sweep.yaml"
    experiment = Experiment(
        space=Group(
            (
                ("a", Constant.of(Reference("evil:f"))),
                ("b", Operation("sample_from", (Constant.of(Reference("evil:f")),))),
                ("c", Choice((Constant.of(Reference("evil:f")), Constant.of(1)))),
            )
        ),
        program="train.py",
    )
    sweep.write_text(SWEEP.source(experiment).value)
    code = f"""
import json, sys
from tune_bridge.dialects.base import DIALECTS, get_dialect
from tune_bridge.dialects.sweep import yaml_file
from tune_bridge.errors import InputError
from tune_bridge.explain import explain
from tune_bridge.dialects.sweep.folding import fold
from tune_bridge.sampling import configurations
text = open({str(sweep)!r}).read()
read = get_dialect("sweep").read(yaml_file.load(text, "s")).value
for name in DIALECTS:
    for make in ("write", "source"):
        try:
            getattr(get_dialect(name), make)(read)
        except InputError:
            pass
explain(read)
fold({{"a": "evil:f"}}, read)
try:
    list(configurations(read))
except InputError:
    pass
print("evil" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
    assert not mark.exists()
    pytest.importorskip("ray.tune")
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tune_bridge.dialects.base import get_dialect\n"
        "from tune_bridge.dialects.sweep import yaml_file\n"
        "from tune_bridge.dialects.ray_tune import live_arguments\n"
        f"text = open({str(sweep)!r}).read()\n"
        "live_arguments(get_dialect('sweep').read(yaml_file.load(text, 's')).value)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    assert mark.exists()


@pytest.mark.parametrize("text", ["", "module", "a:b c", "a:", ":b", "a:__import__('os')", "a:b()"])
def test_text_that_is_no_reference_is_refused(text):
    with pytest.raises(SpecError, match="no reference to a function"):
        reference(text)


def test_what_cannot_be_imported_is_one_error():
    pytest.importorskip("ray.tune")
    experiment = Experiment(space=Group((("a", Constant.of(Reference("no_such_module:f"))),)))
    with pytest.raises(SpecError, match=r"^a: no_such_module:f cannot be imported"):
        live_arguments(experiment)


def test_references_are_values_like_others():
    value = {"f": Reference("a:b"), "$import": 1}
    assert Frozen(value).value == value
    assert Frozen.from_data(Frozen(value).data) == Frozen(value)
    assert type(Frozen(Reference("a:b")).value) is Reference
    # A mapping of the same look in a file is a mapping.
    assert Frozen({"$import": "os:system"}).value == {"$import": "os:system"}
    assert json.dumps(Reference("a:b")) == '"a:b"'
    assert importable(relu, "") == f"{HERE}:relu"


def test_folding_names_what_only_a_function_makes():
    experiment = read()
    native = SWEEP.write(experiment).value["parameters"]["twice"]["value"]
    with pytest.raises(SpecError, match=r"^twice: the value that .*twice_lr makes was never drawn"):
        fold({"twice": native}, experiment)
    assert fold({"twice": 0.5}, experiment) == {"twice": 0.5}


@pytest.mark.parametrize("name", ["HyperOptSearch", "OptunaSearch"])
def test_searchers_take_no_sample_from(name):
    from tune_bridge.experiment import Algorithm

    with pytest.raises(UnsupportedError, match=f"twice: Ray's {name} takes no tune.sample_from"):
        TUNE.write(read().replace(searcher=Algorithm(name)))
    with pytest.raises(UnsupportedError, match="twice: HyperOpt has no parameter"):
        HYPEROPT.write(read())


@pytest.mark.parametrize("name", ["optuna", "configspace", "nevergrad", "ax", "skopt"])
def test_flat_notations_name_functions(name):
    space = Group((("c", Choice((Constant.of(Reference("a:f")), Constant.of("b")))),))
    written = get_dialect(name).write(Experiment(space=space))
    assert any("by their names" in note.what for note in written.notes)


def test_tunes_own_generator_calls_the_function():
    pytest.importorskip("ray.tune")
    from ray.tune.search.variant_generator import generate_variants

    config = live_arguments(read())["config"]
    config["twice"] = type(config["twice"])(lambda spec: twice_lr(spec["config"]))
    spec = next(iter(generate_variants({"config": config})))[1]["config"]
    assert spec["twice"] == spec["lr"] * 2
