"""What a program calls, against a real listener and, outside of a sweep, a real backend."""

from __future__ import annotations

import json
import math
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tune_bridge
from tune_bridge import client
from tune_bridge.client import ADDRESS_ENV, TOKEN_ENV, Config
from tune_bridge.errors import BackendError, InputError
from tune_bridge.reports import PAYLOAD, Listener, Reports
from tune_bridge.values import encode


class Trial:
    """A trial that takes every result at once."""

    def __init__(self, config: dict[str, Any], metric: str | None = None) -> None:
        self.reports = Reports(metric)
        self.listener = Listener(
            {"config": encode(config), "id": "r", "name": "n", "sweep_id": "s", "project": "p"},
            self.reports,
        )
        self.results: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        while (result := self.listener.take(600)) is not None:
            self.results.append(result)
            self.listener.proceed()

    def rows(self) -> list[tuple[int, dict[str, Any]]]:
        self.listener.drain(10)
        self.listener.end()
        self._thread.join(10)
        payloads = [result[PAYLOAD] for result in self.results] + [self.reports.take()]
        return [(row[0], row[2]) for payload in payloads for row in payload["rows"]]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(client, "_current", None)
    yield
    if client._current is not None:
        client._current.finish()


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    trial = Trial({"lr": 0.1, "net": {"depth": 3, "kind": "a"}, "pair": (1, 2), "none": None})
    monkeypatch.setenv(ADDRESS_ENV, trial.listener.address)
    monkeypatch.setenv(TOKEN_ENV, trial.listener.token)
    yield trial
    trial.listener.close()


def test_config(trial: Trial) -> None:
    run = tune_bridge.init(config={"lr": 5, "extra": 7})
    assert (run.id, run.name, run.sweep_id, run.project) == ("r", "n", "s", "p")
    assert run.config.lr == run.config["lr"] == 0.1
    assert run.config.net.depth == run.config["net"]["depth"] == 3
    assert run.config.pair == (1, 2)
    assert run.config.extra == 7
    assert dict(**run.config)["none"] is None
    with pytest.raises(AttributeError, match="no parameter 'x'; there are"):
        _ = run.config.x
    run.config.later = 3
    run.config["more"] = 4
    run.config.update(last=5)
    run.finish()
    assert trial.reports.take()["config"] == {"extra": 7, "later": 3, "more": 4, "last": 5}


def test_config_is_a_dict_and_pickles() -> None:
    config = Config({"a": {"b": 1}, "items": 2})
    copy = pickle.loads(pickle.dumps(config))
    assert copy == config == {"a": {"b": 1}, "items": 2}
    assert copy.a.b == 1
    assert json.loads(json.dumps(config)) == config
    assert "a" in dir(config)


def test_values(trial: Trial) -> None:
    with tune_bridge.init() as run:
        run.log({"f": np.float32(0.5), "i": np.int64(3), "b": np.bool_(True), "a": np.arange(2)})
        run.log({"nan": math.nan, "inf": -math.inf, "text": "ü", "none": None})
        run.log({"net": {"loss": 1.0, "deep": {"x": 2}}, 3: 4})
        assert run.summary["i"] == 3
    rows = trial.rows()
    assert rows[0] == (0, {"f": 0.5, "i": 3, "b": True, "a": [0, 1]})
    assert rows[1][1]["inf"] == -math.inf
    assert math.isnan(rows[1][1]["nan"])
    assert rows[1][1]["text"] == "ü"
    assert rows[2] == (2, {"net/loss": 1.0, "net/deep/x": 2, "3": 4})


def test_steps(trial: Trial) -> None:
    run = tune_bridge.init()
    run.log({"a": 1}, step=3)
    run.log({"b": 2}, step=3)
    run.log({"c": 3})
    with pytest.warns(UserWarning, match="comes after step 4"):
        run.log({"d": 4}, step=1)
    run.finish()
    assert trial.rows() == [(3, {"a": 1}), (3, {"a": 1, "b": 2}), (4, {"c": 3})]


def test_a_value_that_cannot_be_stored_is_named(trial: Trial) -> None:
    run = tune_bridge.init()
    with pytest.raises(InputError, match=r"the value of 'model' cannot be stored; found .*lock"):
        run.log({"loss": 1.0, "model": threading.Lock()})
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InputError, match="'loop'"):
        run.log({"loop": loop})
    with pytest.raises(InputError, match="too much for one row"):
        run.log({"big": "x" * (client.LINE_LIMIT + 1)})
    run.log({"loss": 2.0})
    run.finish()
    assert trial.rows()[-1][1] == {"loss": 2.0}


def test_after_finish(trial: Trial) -> None:
    run = tune_bridge.init()
    assert tune_bridge.init() is run
    run.summary["best"] = np.float64(3)
    run.finish()
    run.finish()
    with pytest.raises(InputError, match="after finish"):
        run.log({"a": 1})
    assert trial.reports.take()["summary"] == {"best": 3.0}
    assert tune_bridge.init() is not run


def test_stop_flag_and_a_trial_that_is_gone(trial: Trial) -> None:
    run = tune_bridge.init()
    trial.listener.stop()
    run.log({"a": 1})
    assert run.stopping
    trial.listener.close()
    assert trial.listener.drain(10)
    with pytest.warns(UserWarning, match="does not listen any more"):
        run.log({"a": 1})
    run.log({"a": 2})


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv(ADDRESS_ENV, f"127.0.0.1:{port}")
    with pytest.raises(BackendError, match=f"unset {ADDRESS_ENV}"):
        tune_bridge.init()


@pytest.mark.parametrize(
    "hello",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\xff" * 5000 + b"\n",
        b'{"token": "wrong"}\n{"log": {"a": 1}, "step": 0}\n',
        b'{"token": null}\n',
        b"[" * 4000 + b"\n",
        b'"' + b"x" * 10_000 + b'"\n',
    ],
)
def test_strangers_are_cut_off(trial: Trial, hello: bytes) -> None:
    host, port = trial.listener.address.split(":")
    with socket.create_connection((host, int(port)), 10) as stranger:
        answer = b""
        try:
            stranger.sendall(hello)
            stranger.shutdown(socket.SHUT_WR)
            while part := stranger.recv(100):
                answer += part
        except OSError:
            pass  # cut off while it was still talking
        assert answer == b""
    run = tune_bridge.init()
    run.log({"mine": 1})
    run.finish()
    assert trial.rows() == [(0, {"mine": 1})]


@pytest.mark.parametrize(
    "line",
    [
        b'{"unknown": 1}\n',
        b"[]\n",
        b"{}\n",
        b'{"log": 3, "step": 0}\n',
        b'{"log": {}}\n',
        b"null\n",
    ],
)
def test_malformed_messages_are_answered(trial: Trial, line: bytes) -> None:
    host, port = trial.listener.address.split(":")
    with socket.create_connection((host, int(port)), 10) as program:
        source = program.makefile("rb")
        program.sendall(json.dumps({"token": trial.listener.token}).encode() + b"\n")
        assert json.loads(source.readline())["id"] == "r"
        program.sendall(line)
        assert "error" in json.loads(source.readline())
        program.sendall(b"not json\n")
        assert source.readline() == b""


def test_several_processes_of_one_program(trial: Trial) -> None:
    code = "import tune_bridge\nwith tune_bridge.init() as r:\n    r.log({'rank': %d})\n"
    children = [subprocess.Popen([sys.executable, "-c", code % rank]) for rank in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert sorted(row["rank"] for _, row in trial.rows()) == [0, 1, 2]


def test_forks_do_not_log(trial: Trial) -> None:
    code = textwrap.dedent(
        """
        import os, sys, tune_bridge
        run = tune_bridge.init()
        if not (pid := os.fork()):
            run.log({"child": 1})
            sys.exit()
        os.waitpid(pid, 0)
        run.log({"parent": 1})
        """
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    assert trial.rows() == [(0, {"parent": 1})]


def test_import_is_light() -> None:
    code = (
        "import sys, tune_bridge\ntune_bridge.init\n"
        "heavy = {'ray', 'wandb', 'numpy', 'sqlalchemy', 'msgspec', 'click'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ALONE = """
import sys, tune_bridge
run = tune_bridge.init("demo", {"lr": 0.1}, name="by hand")
run.log({"loss": 1.0, "net": {"x": 1}})
run.log({"loss": 0.5}, step=4)
run.log({"acc": 0.9}, step=4)
run.summary["best"] = 0.5
print(run.id, run.sweep_id)
"""


@pytest.mark.parametrize(("end", "state"), [("", "finished"), ("raise ValueError('x')", "failed")])
def test_alone(tmp_path: Path, end: str, state: str) -> None:
    pytest.importorskip("tune_bridge.backends.writer")
    from tune_bridge.backends import open_backend

    url = f"sqlite:///{tmp_path / 'sweeps.db'}"
    environ = {**os.environ, "TUNE_BRIDGE_BACKEND": url}
    environ.pop(ADDRESS_ENV, None)
    done = subprocess.run(
        [sys.executable, "-c", ALONE + end], env=environ, capture_output=True, text=True
    )
    run_id, sweep_id = done.stdout.split()
    with open_backend(url) as backend:
        run, sweep = backend.run(run_id), backend.sweep(sweep_id)
        rows = [(row.step, row.values) for row in backend.history(run_id)]
    assert (run.state, sweep.state, sweep.project) == (state, state, "demo")
    assert run.config == {"lr": 0.1}
    assert rows == [(0, {"loss": 1.0, "net/x": 1}), (4, {"loss": 0.5, "acc": 0.9})]
    assert run.summary["best"] == 0.5
    assert sweep.config["parameters"] == {"lr": {"value": 0.1}}


# Runs that W&B's own agent has started

FOLDING = """
import json, os, tune_bridge
run = tune_bridge.init("demo", {"lr": 9.0, "mine": 1}, sweep=SWEEP)
print(repr(dict(run.config)))
run.config.late = 2
print(run.id)
"""


def _started_by_wandb(
    tmp_path: Path, drawn: dict[str, Any], sweep: str, **environ: str
) -> tuple[str, dict[str, Any]]:
    """What the program sees, and what is recorded, with the file that wandb's agent writes."""
    config_util = pytest.importorskip("wandb.sdk.lib.config_util")
    from tune_bridge.backends import open_backend

    path = tmp_path / "wandb" / "config-run.yaml"
    config_util.save_config_file_from_dict(str(path), {k: {"value": v} for k, v in drawn.items()})
    url = f"sqlite:///{tmp_path / 'sweeps.db'}"
    environment = {
        **os.environ,
        "TUNE_BRIDGE_BACKEND": url,
        "WANDB_SWEEP_PARAM_PATH": str(path),
        **environ,
    }
    environment.pop(ADDRESS_ENV, None)
    code = FOLDING.replace("SWEEP", sweep)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    shown, run_id = done.stdout.splitlines()
    with open_backend(url) as backend:
        return shown, backend.run(run_id).config


@pytest.fixture
def folding(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A sweep with a condition, a list, a tuple and arithmetic, and what wandb's agent draws."""
    from tune_bridge.dialects.base import get_dialect
    from tune_bridge.hyperopt import hp

    sgd = {"type": "sgd", "betas": [hp.uniform("b", 0, 1), 0.9], "pair": (hp.randint("i", 9), 1)}
    space = {
        "lr": hp.loguniform("lr", -3, 0) + 1,
        "optimizer": hp.choice("optimizer", [sgd, {"type": "adam", "eps": hp.uniform("e", 0, 1)}]),
    }
    experiment = get_dialect("hyperopt").read(space).value
    path = tmp_path / "sweep.yaml"
    path.write_text(get_dialect("sweep").source(experiment).value)
    nested = {
        "branch": "sgd",
        "sgd": {
            "type": "sgd",
            "betas": {"item_0": 1, "item_1": 0.9},
            "pair": {"item_0": 3.0, "item_1": 1},
        },
        "adam": {"type": "adam", "eps": 0.25},
    }
    return path, {"lr": {"call": "add", "arg_0": 0.5, "arg_1": 1}, "optimizer": nested}


FOLDED = "{'mine': 1, 'lr': 1.5, 'optimizer': {'type': 'sgd', 'betas': [1.0, 0.9], 'pair': (3, 1)}}"


@pytest.mark.parametrize("given", ["argument", "environment"])
def test_what_wandbs_agent_drew_is_folded(
    tmp_path: Path, folding: tuple[Path, dict[str, Any]], given: str
) -> None:
    path, drawn = folding
    if given == "argument":
        shown, recorded = _started_by_wandb(tmp_path, drawn, repr(str(path)))
    else:
        shown, recorded = _started_by_wandb(tmp_path, drawn, "None", TUNE_BRIDGE_SWEEP=str(path))
    assert shown == FOLDED
    assert recorded == {
        "lr": 1.5,
        "mine": 1,
        "optimizer": {"type": "sgd", "betas": [1.0, 0.9], "pair": [3, 1]},
        "late": 2,
    }


def test_without_the_sweep_the_nested_form_stays(
    tmp_path: Path, folding: tuple[Path, dict[str, Any]]
) -> None:
    path, drawn = folding
    shown, _ = _started_by_wandb(tmp_path, drawn, "None")
    assert "'branch': 'sgd'" in shown
    config = {"mine": 1, **drawn}
    assert repr(tune_bridge.fold(config, path)) == FOLDED
    assert repr(tune_bridge.fold(config, str(path))) == FOLDED


def test_a_trial_folds_what_it_is_given(
    monkeypatch: pytest.MonkeyPatch, folding: tuple[Path, dict[str, Any]]
) -> None:
    path, drawn = folding
    trial = Trial({"mine": 1, **drawn})
    monkeypatch.setenv(ADDRESS_ENV, trial.listener.address)
    monkeypatch.setenv(TOKEN_ENV, trial.listener.token)
    run = tune_bridge.init(sweep=path)
    assert repr(dict(run.config)) == FOLDED
    run.finish()
    trial.rows()
    trial.listener.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: {value: 1}", "wandb_version"),
        ("wandb_version: 1\na: 3", "a parameter without a value"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_none_of_wandbs_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, words: str
) -> None:
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(path))
    monkeypatch.delenv(ADDRESS_ENV, raising=False)
    with pytest.raises(InputError, match=words):
        tune_bridge.init("demo", backend=f"sqlite:///{tmp_path / 's.db'}")
