"""The stubs of the recording twins say what Python makes of the tables."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from tests.test_repository import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from stubs import stubs

sys.path.remove(str(ROOT / "tools"))


def test_the_stubs_are_those_of_the_tables():
    stale = [
        str(path)
        for path, text in stubs().items()
        if not (ROOT / path).exists() or (ROOT / path).read_text("utf-8") != text
    ]
    assert stale == [], "run: python tools/stubs.py"
    assert {path.relative_to(ROOT) for path in ROOT.glob("tune_bridge/**/*.pyi")} == set(stubs())


@pytest.mark.parametrize("path", stubs(), ids=str)
def test_a_stub_names_what_its_module_has(path):
    module = importlib.import_module(".".join(path.with_suffix("").parts))
    scope: dict[str, object] = {}
    exec((ROOT / path).read_text("utf-8"), scope)
    assert sorted(scope["__all__"]) == sorted(module.__all__)
    for name in module.__all__:
        ours = inspect.signature(getattr(module, name)).parameters
        assert set(ours) <= set(inspect.signature(scope[name]).parameters)


USER = """
from tune_bridge import tune
from tune_bridge.hyperopt import fmin, hp, tpe
from tune_bridge.tune.schedulers import ASHAScheduler
from tune_bridge.tune.search.hyperopt import HyperOptSearch
from tune_bridge.tune.search.optuna import OptunaSearch
from tune_bridge.tune.stopper import TimeoutStopper
from tune_bridge.tune.suggest.hyperopt import HyperOptSearch as Old

space = {"x": hp.uniform("x", 0, 1)}
config = tune.run(
    "train.py",
    search_alg=HyperOptSearch(space, metric="loss", mode="min"),
    scheduler=ASHAScheduler(max_t=10),
    stop=TimeoutStopper(60),
)
config.save("sweep.yaml")
old = Old(space, reward_attr="accuracy", max_concurrent=2)
OptunaSearch(no_such_argument=1)
"""


@pytest.mark.slow
def test_mypy_sees_the_twins_in_a_program(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(USER)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    (found,) = [line for line in lines if "user.py" in line and ": error: " in line]
    assert found.startswith('user.py:19: error: Unexpected keyword argument "no_such_argument"')
