"""Macros of a sweep's command, one by one and against W&B's own expansion."""

from __future__ import annotations

import json

import pytest

from tune_bridge.command import DEFAULT_COMMAND, MACROS, Start, expand, wants_config_file

CONFIG = {
    "lr": 1e-05,
    "n": 3,
    "flag": True,
    "off": False,
    "name": "p q",
    "none": None,
    "layers": [1, "x", 2.5],
    "net": {"u": 1, "v": "p q"},
}
START = Start(CONFIG, program="train.py", config_file="/tmp/config.json")


@pytest.mark.parametrize(
    ("macro", "expected"),
    [
        ("interpreter", ["python"]),
        ("program", ["train.py"]),
        ("env", ["/usr/bin/env"]),
        ("args_json_file", ["/tmp/config.json"]),
        ("args_json", [json.dumps(CONFIG)]),
        ("args_dict", list(CONFIG)),
        (
            "args",
            [
                "--lr=1e-05",
                "--n=3",
                "--flag=True",
                "--off=False",
                "--name=p q",
                "--none=None",
                "--layers=[1, 'x', 2.5]",
                "--net={'u': 1, 'v': 'p q'}",
            ],
        ),
        ("nonsense", []),
        ("args ", []),
    ],
)
def test_macro(macro: str, expected: list[str]) -> None:
    assert expand([f"${{{macro}}}"], START) == expected


@pytest.mark.parametrize(
    ("macro", "expected"),
    [
        ("args_no_hyphens", ["a=1", "b=True", "c=False"]),
        ("args_no_boolean_flags", ["--a=1", "--b"]),
        ("args_no_equals", ["--a", "1", "--b", "True", "--c", "False"]),
        ("args_append_hydra", ["+a=1", "+b=True", "+c=False"]),
        ("args_override_hydra", ["++a=1", "++b=True", "++c=False"]),
    ],
)
def test_forms_of_arguments(macro: str, expected: list[str]) -> None:
    assert expand([f"${{{macro}}}"], Start({"a": 1, "b": True, "c": False})) == expected


def test_one_is_no_boolean() -> None:
    assert expand(["${args_no_boolean_flags}"], Start({"a": 1, "b": 0})) == ["--a=1", "--b=0"]


def test_default_command() -> None:
    argv = expand(None, Start({"a": 1}, program="train.py"))
    assert argv == ["/usr/bin/env", "python", "train.py", "--a=1"]
    assert expand([], Start({"a": 1}, program="train.py")) == argv
    assert expand(DEFAULT_COMMAND, Start({}, interpreter="/py")) == ["/usr/bin/env", "/py"]


def test_macros_inside_longer_items_stay() -> None:
    assert expand(["--pre=${program}", "x${args}"], START) == ["--pre=${program}", "x${args}"]


def test_environment_variables_anywhere() -> None:
    environ = {"HOME_1": "/h", "MACRO": "${program}"}
    command = ["${envvar:HOME_1}/x", "A=${envvar:NOPE}", "${envvar:HOME_1}", "${envvar:lower}"]
    assert expand(command, START, environ) == ["/h/x", "A=NOPE", "/h"]
    # An item is a macro when it is one after the variables are filled in, as in W&B's agent.
    assert expand(["${envvar:MACRO}"], START, environ) == ["train.py"]


def test_other_items_become_text() -> None:
    assert expand(["run", 3, 1.5, None], START) == ["run", "3", "1.5", "None"]


def test_missing_program_and_file_vanish() -> None:
    assert expand(["x", "${program}", "${args_json_file}"], Start({})) == ["x"]


def test_config_file_is_wanted_only_when_named() -> None:
    assert wants_config_file(["python", "${args_json_file}"])
    assert not wants_config_file(["python", 3, "${args}"])
    assert not wants_config_file(None)


def test_the_command_is_left_alone() -> None:
    command = ["${envvar:HOME}", "${args}"]
    expand(command, START, {"HOME": "/h"})
    assert command == ["${envvar:HOME}", "${args}"]


def test_agrees_with_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    monkeypatch.setenv("SEEN", "yes")
    theirs = utils.create_sweep_command_args({"args": {k: {"value": v} for k, v in CONFIG.items()}})
    for name, expected in theirs.items():
        assert name in MACROS
        assert expand([f"${{{name}}}"], START) == list(expected), name
    command = ["a${envvar:SEEN}b${envvar:UNSEEN}", "${args}"]
    assert expand(command[:1], START) == utils.create_sweep_command(command[:1])
