"""Python files as people have them: every library's own way to start a search is taken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tune_bridge.cli.source import FILE, Built, load_source, load_sources
from tune_bridge.errors import InputError
from tune_bridge.experiment import RANDOM, Algorithm
from tune_bridge.notes import Level


def load(folder: Path, text: str, **options: Any) -> list[Built]:
    path = folder / "e.py"
    path.write_text(text)
    return load_sources(path, **options)


def remarks(built: Built) -> list[tuple[str, int | None]]:
    return [(note.what, note.line) for note in built.config.notes if note.path == FILE]


FMIN = """
import functools
import numpy as np
from hyperopt import Trials, fmin, hp, space_eval, tpe
space = {"lr": hp.loguniform("lr", -9, -1), "act": hp.choice("act", ["relu", "tanh"])}
def objective(config):
    raise RuntimeError("trained")
best = fmin(objective, space, algo=functools.partial(tpe.suggest, n_startup_jobs=5),
            max_evals=30, trials=Trials(), rstate=np.random.default_rng(7),
            points_to_evaluate=[{"lr": 0.1, "act": 1}])
print("best:", best, best["lr"], f"{best['lr']:.3f}")
print(space_eval(space, best))
raise RuntimeError("went on")
"""

SWEEP = """
import wandb
wandb.login()
def main():
    raise RuntimeError("trained")
config = {"method": "random", "metric": {"goal": "minimize", "name": "score"},
          "parameters": {"x": {"max": 0.1, "min": 0.01}, "y": {"values": [1, 3, 7]}}}
sweep_id = wandb.sweep(sweep=config, project="first")
wandb.agent(sweep_id, function=main, count=10)
print(f"see {sweep_id}")
"""

STUDY = """
import optuna
def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    return x ** 2
study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=3),
                            study_name="mine")
study.enqueue_trial({"x": 0.5, "kind": "b"})
study.optimize(objective, n_trials=12, timeout=60, n_jobs=2)
print(study.best_params, study.best_value, study.best_trial.params)
"""

SKOPT = """
from skopt import dummy_minimize, forest_minimize, gp_minimize
from skopt.space import Integer, Real
dimensions = [Real(1e-5, 0.1, prior="log-uniform", name="lr"), Integer(1, 5, name="depth")]
def f(x): raise RuntimeError("trained")
first = gp_minimize(f, dimensions, n_calls=15, x0=[0.01, 3], random_state=0)
print(first.x, first.fun)
second = dummy_minimize(f, dimensions, 9)
third = forest_minimize(f, dimensions)
print("%.3f" % third.fun)
"""

BOUNDS = """
from bayes_opt import BayesianOptimization
def f(x, y): raise RuntimeError("trained")
optimizer = BayesianOptimization(f=f, pbounds={"x": (0, 1), "y": (-1, 1)}, random_state=5)
optimizer.maximize(init_points=3, n_iter=4)
print(optimizer.max["params"])
"""

OLD = """
import wandb
from wandb.sweeps.config import tune
from wandb.sweeps.config.tune.suggest.hyperopt import HyperOptSearch
from wandb.sweeps.config.hyperopt import hp

tune_config = tune.run(
    "train.py",
    search_alg=HyperOptSearch(
        dict(
            width=hp.uniform("width", 0, 20),
            lr=hp.loguniform(1e-4, 1e-1),
            activation=hp.choice("activation", ["relu", "tanh"])),
        metric="mean_loss",
        mode="min"),
    num_samples=10)
tune_config.set(name="old")
tune_config.save("sweep-hyperopt.yaml")
wandb.sweep(tune_config)
"""

NO_WANDB = """
import importlib.machinery
find = importlib.machinery.PathFinder.find_spec
hidden = lambda name, *rest: None if name == "wandb" else find(name, *rest)
importlib.machinery.PathFinder.find_spec = hidden
"""


def test_fmin(tmp_path):
    (built,) = load(tmp_path, FMIN)
    experiment = built.config.experiment
    assert experiment.searcher == Algorithm.of("HyperOptSearch", n_initial_points=5)
    assert (experiment.num_samples, experiment.seed) == (30, 7)
    assert [point.value for point in experiment.points] == [{"lr": 0.1, "act": "tanh"}]
    assert list(experiment.searched) == ["lr", "act"]
    assert remarks(built) == [("not executed beyond this line", 12)]
    assert built.config.notes.worst < Level.LOST


def test_wandb_sweep(tmp_path):
    (built,) = load(tmp_path, SWEEP)
    assert built.config["project"] == "first"
    assert list(built.config.experiment.searched) == ["x", "y"]
    assert (remarks(built), built.line) == ([], 8)


def test_optuna(tmp_path):
    (built,) = load(tmp_path, STUDY)
    experiment = built.config.experiment
    assert experiment.searcher == Algorithm("OptunaSearch")
    assert (experiment.num_samples, experiment.max_concurrent, experiment.name) == (12, 2, "mine")
    assert experiment.objective.goal == "maximize"
    assert [point.value for point in experiment.points] == [{"x": 0.5, "kind": "b"}]
    assert list(experiment.searched) == ["x", "kind"]
    assert remarks(built) == []


def test_scikit_optimize_has_three_experiments(tmp_path):
    first, second, third = load(tmp_path, SKOPT)
    assert [item.number for item in (first, second, third)] == [1, 2, 3]
    assert [item.line for item in (first, second, third)] == [6, 8, 9]
    experiments = [item.config.experiment for item in (first, second, third)]
    assert [e.num_samples for e in experiments] == [15, 9, 100]
    assert [e.searcher.kind for e in experiments] == ["bayes", RANDOM.kind, "bayes"]
    assert experiments[0].points[0].value == {"lr": 0.01, "depth": 3}
    assert "a Gaussian process" in str(third.config.notes.at("searcher")[0])
    assert remarks(third) == [("not executed beyond this line", 10)]


def test_bayesian_optimization(tmp_path):
    (built,) = load(tmp_path, BOUNDS)
    experiment = built.config.experiment
    assert experiment.searcher == Algorithm.of("BayesOptSearch", random_search_steps=3)
    assert experiment.num_samples == 7
    assert experiment.objective.goal == "maximize"
    assert remarks(built) == []


@pytest.mark.parametrize("before", ["", NO_WANDB], ids=["today", "none"])
def test_old_scripts_of_wandb_run_unchanged(tmp_path, before, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (built,) = load(tmp_path, before + OLD)
    experiment = built.config.experiment
    assert (experiment.name, experiment.program, built.name) == ("old", "train.py", "tune_config")
    assert list(experiment.searched) == ["width", "lr", "activation"]
    assert load_source("sweep-hyperopt.yaml")["name"] == "old"


def test_without_wandb_installed(tmp_path):
    more = "with wandb.init(project='p') as run:\n    run.log({'x': wandb.config.x})\n"
    (built,) = load(tmp_path, NO_WANDB + SWEEP + more)
    assert built.config["project"] == "first"
    assert remarks(built) == []


RAY = """
import ray
from ray import tune
from ray.tune import Tuner, run_experiments
ray.init(num_cpus=2)
def train(config):
    raise RuntimeError("trained")
data = ray.get(ray.put([1, 2]))
a = tune.run(train, config={"x": tune.uniform(0, len(data))}, metric="loss", mode="min")
print("Best:", a.best_config, a.get_best_config(metric="loss", mode="min"))
tuner = Tuner(train, param_space={"y": tune.choice([1, 2])})
results = tuner.fit()
best = results.get_best_result("loss", "min")
print(best.config["y"], best.metrics)
run_experiments({"third": {"run": train, "config": {"z": tune.randint(0, 9)}, "num_samples": 3}})
for result in results:
    raise RuntimeError("went on")
"""


@pytest.mark.slow
def test_ray(tmp_path):
    first, second, third = load(tmp_path, RAY)
    assert [list(item.config.experiment.searched) for item in (first, second, third)] == [
        ["x"],
        ["y"],
        ["z"],
    ]
    assert (third.config.experiment.num_samples, third.config.experiment.name) == (3, "third")
    assert second.name == "tuner"
    assert remarks(third) == [("not executed beyond this line", 16)]


# How a file ends

TWINS = """
from tune_bridge import tune
a = tune.run('a.py', config={'x': tune.uniform(0, 1)})
[tune.run('b.py', config={'y': tune.uniform(0, 1)})]
"""


@pytest.mark.parametrize(
    ("end", "remark"),
    [
        ("", []),
        ("import sys; sys.exit(0)", []),
        ("1 / 0", [("ended by an error", 5)]),
        ("import os; os._exit(3)", [("ended the interpreter", None)]),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            [("ended the interpreter", None)],
        ),
        ("while True: pass", [("ended by its time", None)]),
        ("import threading; threading.Thread(target=threading.Event().wait).start()", []),
        ("import atexit, threading; atexit.register(threading.Event().wait)", []),
    ],
)
def test_what_was_built_counts_however_the_file_ends(tmp_path, end, remark):
    built = load(tmp_path, TWINS + end, timeout=4)
    assert [item.config["program"] for item in built] == ["a.py", "b.py"]
    assert remarks(built[0]) == remark


def test_later_edits_of_a_config_count(tmp_path):
    (built,) = load(tmp_path, "\n".join(TWINS.splitlines()[:3]) + "\na['name'] = 'later'\n")
    assert built.config["name"] == "later"


def test_one_of_several_is_chosen_by_name_or_number(tmp_path):
    path = tmp_path / "e.py"
    load(tmp_path, TWINS)
    assert load_source(f"{path}:2")["program"] == "b.py"
    assert load_source(f"{path}:a")["program"] == "a.py"
    assert load_source(path, name="1")["program"] == "a.py"
    for wrong in ("3", "b", "0"):
        with pytest.raises(InputError, match=f"no experiment called '{wrong}'"):
            load_source(f"{path}:{wrong}")
    with pytest.raises(InputError, match=r"builds 2 experiments; found a, 2 \(line 4\)"):
        load_source(path)
    with pytest.raises(InputError, match="two experiments are named"):
        load_source(f"{path}:a", name="b")


SPACES = """
from tune_bridge import tune
from tune_bridge.hyperopt import hp
import optuna
hyper = {"x": hp.uniform("x", 0, 1)}
domains = {"x": tune.uniform(0, 1)}
live = {"x": optuna.distributions.FloatDistribution(0, 1)}
sweep = {"method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}}
def objective(trial):
    return trial.suggest_float("x", 0, 1)
nothing = {"x": 1}
"""


def test_a_variable_may_hold_a_space_of_any_notation(tmp_path):
    path = tmp_path / "e.py"
    path.write_text(SPACES)
    laws = [
        load_source(f"{path}:{name}").experiment.searched["x"].distribution
        for name in ("hyper", "domains", "live", "sweep", "objective")
    ]
    assert len(set(laws)) == 1
    with pytest.raises(InputError, match="no space of a notation that is known"):
        load_source(f"{path}:nothing")
    with pytest.raises(
        InputError, match=r"builds no experiment.*it holds a space: give .*e.py:hyper"
    ):
        load_source(path)


def test_a_search_that_cannot_be_translated_is_an_error_even_inside_of_try(tmp_path):
    text = """
from hyperopt import fmin, hp
try:
    fmin(None, {"x": hp.uniform("x", 0, 1)}, algo=len)
except Exception:
    pass
"""
    with pytest.raises(InputError, match="not one of HyperOpt's") as caught:
        load(tmp_path, text)
    assert (caught.value.line, caught.value.path) == (4, "algo")


def test_the_file_has_no_network(tmp_path):
    text = "import socket\nsocket.create_connection(('192.0.2.1', 80))\n"
    with pytest.raises(InputError, match="no network while the file is read"):
        load(tmp_path, text)


# Processes


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


LEAVES = """
import os, subprocess, sys
wait = [sys.executable, "-c", "import threading; threading.Event().wait()"]
one = subprocess.Popen(wait)
two = subprocess.Popen(wait, start_new_session=True)
with open("pids", "w") as file:
    file.write(f"{os.getpid()} {one.pid} {two.pid}")
os.rename("pids", "done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("end", ["", "while True: pass"])
def test_nothing_is_left_running(tmp_path, end, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        load(tmp_path, LEAVES + end, timeout=5)
    pids = [int(pid) for pid in (tmp_path / "done").read_text().split()]
    assert [pid for pid in pids if alive(pid)] == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_child_ends_with_the_command(tmp_path, number):
    (tmp_path / "e.py").write_text(LEAVES + "while True: pass")
    command = [sys.executable, "-c", "from tune_bridge.cli.main import main; main()"]
    process = subprocess.Popen(
        [*command, "convert", "e.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not (tmp_path / "done").exists():
        assert time.monotonic() < until
        assert process.poll() is None
    child, one, two = (int(pid) for pid in (tmp_path / "done").read_text().split())
    process.send_signal(number)
    process.wait(60)
    while alive(child):
        assert time.monotonic() < until
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert process.stderr is not None
        assert process.stderr.read().strip() == "interrupted"
        assert not alive(one)
        assert not alive(two)
    else:
        # Killed, the command cannot end what the child has started; the test does.
        for pid in (one, two):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


# The command


def cli(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from tune_bridge.cli.main import main; main()", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False
    )


def test_several_experiments_are_written_with_their_numbers(tmp_path):
    (tmp_path / "e.py").write_text("print('not ours')" + TWINS + "1 / 0\n")
    done = cli("convert", "e.py", "-o", "sweep.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "not ours\n"
        "note: e.py:5: ended by an error - ZeroDivisionError: division by zero\n"
        "wrote sweep-1.yaml\n"
        "note: e.py:5: ended by an error - ZeroDivisionError: division by zero\n"
        "wrote sweep-2.yaml\n"
    )
    assert load_source(tmp_path / "sweep-2.yaml")["program"] == "b.py"
    done = cli("convert", "e.py", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)["experiments"]
    assert [(item["number"], item["name"]) for item in found] == [(1, "a"), (2, None)]
    assert "program: b.py" in found[1]["text"]
    done = cli("convert", "e.py:2", "-q", cwd=tmp_path)
    assert done.stdout.startswith("program: b.py")


ABSENT = """
import torchless.nn as nn
import torchless
from torchless.vision import models, transforms
from ray import tune
try:
    import torchless_extras
except ImportError:
    torchless_extras = None
assert torchless_extras is None
device = "cuda" if torchless.cuda.is_available() else "cpu"

class Net(nn.Module):
    def __init__(self, width: torchless.Tensor | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 10)

@torchless.no_grad()
def train(config):
    raise RuntimeError("trained")

net = Net().to(device)
trainset = models.load(transform=transforms.Compose([transforms.ToTensor()]))
tune.run(train, config={"lr": tune.uniform(0, 1), "layer": tune.choice([nn.ReLU, nn.Tanh]),
                        "device": device}, num_samples=torchless.cuda.device_count() + 3)
"""


def test_modules_that_are_not_installed(tmp_path):
    built = load(tmp_path, ABSENT)[0]
    assert built.config.experiment.trainable == "__main__:train"
    assert built.config["run_cap"] == 3
    assert built.config["parameters"]["device"] == {"value": "cpu"}
    assert built.config["parameters"]["layer"]["values"] == [
        "torchless.nn:ReLU", "torchless.nn:Tanh"
    ]  # fmt: skip
    assert remarks(built) == [("executed without torchless", None)]


def test_a_trainable_of_a_module_that_is_not_installed(tmp_path):
    text = "from mine.training import train\nfrom ray import tune\n"
    text += "tune.run(train, config={'x': tune.uniform(0, 1)})\n"
    text += "tune.Tuner(train, param_space={'x': tune.uniform(0, 1)}).fit()\n"
    for built in load(tmp_path, text):
        assert built.config.experiment.trainable == "mine.training:train"


@pytest.mark.parametrize(
    "text",
    ["tune.run('f', config={'x': tune.uniform(0, 2 * torchless.pi)})\n", "for x in t: pass\n"],
)
def test_a_value_of_a_module_that_is_not_installed(tmp_path, text):
    with pytest.raises(InputError) as caught:
        load(tmp_path, "import torchless\nfrom ray import tune; t = torchless.t\n" + text)
    assert caught.value.line == 3
    assert "torchless is not installed here" in str(caught.value)


def test_a_search_library_that_is_not_installed_is_named(tmp_path):
    text = "import sys; sys.modules['hyperopt'] = None\nimport hyperopt\n"
    with pytest.raises(InputError, match=r"e\.py:2: .*hyperopt.*pip install 'tune-bridge\[ray\]'"):
        load(tmp_path, text)


def test_names_of_old_rays(tmp_path):
    text = """
import ray
from ray import tune
from ray.tune.suggest import ConcurrencyLimiter
from ray.tune.suggest.hyperopt import HyperOptSearch
from ray.tune.suggest.suggestion import ConcurrencyLimiter as Limiter
from ray.tune.integration.wandb import WandbLogger
from hyperopt import hp
search = HyperOptSearch({"x": hp.uniform("x", 0, 1)}, reward_attr="score", max_concurrent=2)
tune.run("train.py", search_alg=search, num_samples=4)
"""
    built = load(tmp_path, text)[0]
    assert built.config["metric"] == {"name": "score", "goal": "maximize"}
    assert built.config.experiment.searcher.kind == "HyperOptSearch"
    assert remarks(built) == [("executed without ray.tune.integration.wandb", None)]


def test_what_a_trainable_is_given(tmp_path):
    text = """
from functools import partial
from ray import tune
def train(config, data=None, epochs=1):
    raise RuntimeError("trained")
space = {"x": tune.uniform(0, 1)}
given = tune.with_parameters(train, data=open(__file__), epochs=5)
tune.Tuner(tune.with_resources(given, {"cpu": 2}), param_space=space).fit()
tune.run(partial(train, epochs=5), config=space)
"""
    first, second = load(tmp_path, text)
    for built in (first, second):
        assert built.config.experiment.trainable == "__main__:train"
        assert built.config.experiment.extras.value["tune"]["with_parameters"] == {"epochs": 5}
    assert first.config.experiment.resources.value == {"cpu": 2}
    left = [note for note in first.config.notes if note.path == "with_parameters.data"]
    assert [note.level for note in left] == [Level.APPROXIMATED]


def test_a_file_of_a_package(tmp_path):
    package = tmp_path / "project"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "data.py").write_text("HIGH = 5\n")
    scripts = package / "scripts"
    scripts.mkdir()
    text = "from ..data import HIGH\nfrom ray import tune\n"
    built = load(scripts, text + "tune.run('f', config={'x': tune.uniform(0, HIGH)})\n")[0]
    assert built.config["parameters"]["x"]["max"] == 5


def test_an_objective_that_trains(tmp_path):
    text = """
import optuna, torchless
def objective(trial):
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    layers = trial.suggest_int("layers", 1, 3)
    trial.set_user_attr("seen", True)
    model = torchless.Model([torchless.Layer(trial.suggest_int(f"n{i}", 4, 128))
                             for i in range(layers)])
    for epoch in range(10):
        trial.report(model.fit(lr), epoch)
        raise RuntimeError("trained")
study = optuna.create_study()
study.optimize(objective, n_trials=3)
study.optimize(lambda trial: trial.suggest_float("x", 0, 1) / torchless.zero, n_trials=3)
"""
    first, second = load(tmp_path, text)
    assert first.config["parameters"].keys() == {"lr", "layers", "n0"}
    assert "n2" in str(first.config["parameters"]["layers"])
    assert second.config["parameters"].keys() == {"x"}
    assert "its suggestions end where it failed" in [note.what for note in second.config.notes]
