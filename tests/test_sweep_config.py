"""`SweepConfig`: a dict, a file, an experiment."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from tune_bridge import SweepConfig
from tune_bridge.errors import InputError, NotFoundError, SpecError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.notes import Level
from tune_bridge.space import Group, Parameter, Uniform

EXPERIMENT = Experiment(
    program="train.py",
    space=Group((("width", Parameter(Uniform(0, 20))),)),
    objective=Objective("mean_loss"),
    searcher=Algorithm("HyperOptSearch"),
    num_samples=10,
    space_in="searcher",
)


@pytest.fixture
def config() -> SweepConfig:
    return SweepConfig.from_experiment(EXPERIMENT)


def test_it_is_a_real_dict(config: SweepConfig) -> None:
    assert isinstance(config, dict)
    assert json.loads(json.dumps(config)) == config
    assert config["parameters"]["width"] == {"distribution": "uniform", "min": 0, "max": 20}
    assert config.experiment == EXPERIMENT
    assert config.notes.worst is Level.CARRIED


def test_edits_of_the_dict_count(config: SweepConfig) -> None:
    config["run_cap"] = 30
    assert config.experiment.num_samples == 30


def test_it_survives_a_file_and_a_pickle(config: SweepConfig, tmp_path: Path) -> None:
    config.save(tmp_path / "s.yaml")
    assert SweepConfig.load(tmp_path / "s.yaml") == config
    assert SweepConfig.load(tmp_path / "s.yaml").experiment == EXPERIMENT
    copy = pickle.loads(pickle.dumps(config))
    assert copy == config
    assert type(copy) is SweepConfig
    assert list(copy.notes) == list(config.notes)


def test_set_does_what_the_beta_did(config: SweepConfig) -> None:
    assert config.set(name="n", settings={"a": 1}, local=True) is config
    assert (config["name"], config["settings"]) == ("n", {"a": 1})
    assert config["controller"]["type"] == "local"
    assert config.experiment.searcher == EXPERIMENT.searcher
    assert config.set()["name"] == "n"


def test_errors_name_file_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("method: random\nparameters:\n  lr:\n    min: 3\n    max: 1\n")
    with pytest.raises(SpecError) as caught:
        SweepConfig.load(path)
    assert str(caught.value).startswith(f"{path}:4:5: parameters.lr.min: min is not below max")
    with pytest.raises(NotFoundError, match="no such file"):
        SweepConfig.load(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot read"):
        SweepConfig.load(tmp_path)
    with pytest.raises(SpecError, match="not a sweep; found nothing"):
        SweepConfig.from_yaml("")


def test_a_number_spelled_1e_5_is_a_number(tmp_path: Path) -> None:
    text = "method: random\nparameters: {lr: {min: 1e-5, max: 1e-1}}\n"
    node = SweepConfig.from_yaml(text).experiment.searched["lr"]
    assert node == Parameter(Uniform(1e-5, 0.1))


def test_an_object_in_the_dict_is_named(config: SweepConfig, tmp_path: Path) -> None:
    config["settings"] = object()
    with pytest.raises(InputError, match=r"builtins\.object"):
        config.save(tmp_path / "s.yaml")
    assert not list(tmp_path.iterdir())


def test_an_unwritable_target_is_one_clear_error(config: SweepConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write: No such file or directory"):
        config.save(tmp_path / "missing" / "s.yaml")
    with pytest.raises(InputError, match="cannot write"):
        config.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_save_keeps_permissions_and_follows_links(config: SweepConfig, tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    config.save(link)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert SweepConfig.load(real) == config


INTERRUPTED = """
import os, signal, sys
from tune_bridge import SweepConfig
config = SweepConfig({"method": "random", "parameters": {"x": {"values": list(range(1000))}}})
real = os.fsync
def fsync(handle):
    real(handle)
    os.kill(os.getpid(), int(sys.argv[2]))
os.fsync = fsync
config.save(sys.argv[1])
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_save_leaves_the_old_file_whole(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("method: old\n")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(path), str(int(how))], capture_output=True
    )
    assert done.returncode != 0
    assert path.read_text() == "method: old\n"
    if how is signal.SIGINT:
        assert list(tmp_path.iterdir()) == [path]


HEAVY = (
    "ray",
    "hyperopt",
    "wandb",
    "pandas",
    "sklearn",
    "numpy",
    "scipy",
    "sqlalchemy",
    "dash",
    "rich",
)


@pytest.mark.parametrize(
    "code",
    [
        "import tune_bridge",
        "from tune_bridge import SweepConfig",
        "from tune_bridge import tune, hyperopt",
        (
            "import tune_bridge as b; b.SweepConfig.from_yaml('{method: random,"
            " parameters: {x: {min: 0.0, max: 1.0}}}').experiment"
        ),
    ],
)
def test_translations_load_nothing_heavy(code: str) -> None:
    check = f"import sys\n{code}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_experiment_is_kept_until_the_config_is_edited() -> None:
    config = SweepConfig.from_yaml("method: random\nparameters: {x: {values: [1, 2]}}\n")
    first = config.experiment
    assert config.experiment is first
    config["parameters"]["x"]["values"][0] = 1.0
    second = config.experiment
    assert second != first
    config["parameters"]["x"]["values"][0] = 1
    assert config.experiment == first
    # What is no plain data is read each time.
    config["parameters"]["x"]["values"] = [Fraction(1, 2), 2]
    with pytest.raises(InputError):
        _ = config.experiment


@pytest.mark.parametrize(
    "arguments", [{"name": 3}, {"settings": [1]}, {"local": "yes"}], ids=lambda a: next(iter(a))
)
def test_set_checks_its_arguments(arguments):
    (name,) = arguments
    config = SweepConfig({"method": "random"})
    with pytest.raises(SpecError, match=f"^{name}: {name} of a sweep; found"):
        config.set(**arguments)
    assert config == {"method": "random"}


@pytest.mark.parametrize("word", ["null", "true", "false"])
def test_messages_about_a_file_speak_yaml(word):
    text = f"method: random\nparameters:\n  x: {{min: {word}, max: 1}}\n"
    with pytest.raises(SpecError, match=f"found {word}, expected a number"):
        SweepConfig.from_yaml(text)
