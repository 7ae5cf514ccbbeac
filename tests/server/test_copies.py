"""What can be copied of a run."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("dash")

from tests.server.seed import make_sweep
from tune_bridge.server.copies import command_of, copies, tune_code
from tune_bridge.server.views import Reader

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def config_in(code: str) -> object:
    body = code.partition("config = ")[2].rpartition("\n\ntune.run")[0]
    return eval(body, {"__builtins__": {}, "float": float})


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_tune_code_says_the_config(config) -> None:
    assert config_in(tune_code(config)) == config


def test_tune_code_says_what_is_not_a_number() -> None:
    assert math.isnan(config_in(tune_code({"x": {"y": [math.nan]}}))["x"]["y"][0])


def test_the_forms_of_a_run(backend) -> None:
    snapshot = Reader(backend).snapshot(make_sweep(backend, 2))
    run = snapshot.runs[0]
    forms = dict(copies(snapshot, run))
    assert list(forms) == ["YAML", "Tune code", "Command line"]
    assert yaml.safe_load(forms["YAML"]) == run.config
    assert config_in(forms["Tune code"]) == run.config
    assert f"--lr={run.config['lr']}" in forms["Command line"]


def test_the_command_of_a_run() -> None:
    def command(config: dict, **sweep: object) -> str | None:
        snapshot = SimpleNamespace(sweep=SimpleNamespace(config={"program": "train.py", **sweep}))
        return command_of(snapshot, SimpleNamespace(config=config))  # type: ignore[arg-type]

    assert command({"x": 0.5, "kind": "a b"}) == "/usr/bin/env python train.py --x=0.5 '--kind=a b'"
    assert command({"x": 1}, command=["bash", "${program}", "${args_no_hyphens}"]) == (
        "bash train.py x=1"
    )
    assert command({"x": 1}, program=None) is None
