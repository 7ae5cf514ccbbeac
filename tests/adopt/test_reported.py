"""An experiment that has reported itself is not adopted a second time without a word."""

from __future__ import annotations

import json

import pytest

from tune_bridge.adopt import adopt
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import PutRun, Run
from tune_bridge.cli.main import main
from tune_bridge.errors import InputError
from tune_bridge.trial import run_id


@pytest.fixture
def results(tmp_path):
    """Folders of two experiments of Ray 2, with two trials each."""
    for name in ("one", "two"):
        for number in range(2):
            trial = f"{name}_0000{number}"
            folder = tmp_path / "results" / name / f"train_{trial}"
            folder.mkdir(parents=True)
            (folder / "params.json").write_text(json.dumps({"x": number}))
            result = {"loss": 1.0, "trial_id": trial, "timestamp": 50 + number, "done": True}
            (folder / "result.json").write_text(json.dumps(result) + "\n")
    return tmp_path / "results"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'sweeps.db'}"


@pytest.fixture
def reported(url):
    """The sweep that `SweepCallback` made of "one", whose second trial is missing."""
    with open_backend(url) as backend:
        for _ in range(3):
            backend.create_sweep({}, name="other", meta={"made_by": "SweepCallback"})
        sweep = backend.create_sweep({}, name="night", meta={"made_by": "SweepCallback"})
        put = Run(id=run_id(sweep.id, "one_00000"), sweep_id=sweep.id, created_at=1.0)
        backend.apply([PutRun(put)])
        return sweep.id


def sweeps(url):
    with open_backend(url) as backend:
        return backend.sweeps()


def test_it_is_refused_and_the_sweep_is_named(results, url, reported):
    with pytest.raises(InputError) as error:
        adopt(results / "one", backend=url, metric="loss")
    words = str(error.value)
    assert f"it is sweep {reported} (night, running) already, with 1 of its 2 trials" in words
    assert str(results / "one") in words
    assert "--copy" in words
    with pytest.raises(InputError, match=reported):  # nothing of the other one is written, either
        adopt(results, backend=url, metric="loss")
    assert len(sweeps(url)) == 4


def test_a_copy_is_made_when_somebody_wants_one(results, url, reported, capsys):
    (made,) = adopt(results / "one", backend=url, metric="loss", copy=True)
    assert made.added == 2
    (again,) = adopt(results / "one", backend=url, metric="loss")  # the copy, not the other one
    assert (again.sweep, again.added) == (made.sweep, 0)
    assert len(sweeps(url)) == 5
    with pytest.raises(SystemExit) as ended:
        main(["adopt", str(results), "--copy", "--metric", "loss", "--backend", url, "-q"])
    assert ended.value.code == 0
    assert len(sweeps(url)) == 6


def test_others_are_adopted_as_ever(results, url, reported):
    (made,) = adopt(results / "two", backend=url, metric="loss")
    assert made.added == 2
