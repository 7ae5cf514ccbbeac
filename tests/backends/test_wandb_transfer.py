"""Sweeps to W&B and back: nothing changes on the way, and nothing is doubled."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

pytest.importorskip("wandb")
pytest.importorskip("uvicorn")

from tests.server.wandb.conftest import Place
from tests.wandb_server import wandb_server
from tune_bridge.backends.base import (
    Backend,
    LogRows,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
    Row,
    Run,
    Sweep,
    new_id,
)
from tune_bridge.backends.local import LocalBackend
from tune_bridge.backends.wandb import WandbPlace
from tune_bridge.backends.wandb.backend import WandbBackend
from tune_bridge.backends.wandb.transfer import Step, pull, push
from tune_bridge.cli.main import cli
from tune_bridge.errors import NotFoundError
from tune_bridge.testing.operations import comparable

T0 = 1_700_000_000.0
pytestmark = pytest.mark.slow

CONFIG = {
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"min": 0.0, "max": 1.0}, "n": {"values": [1, 2.0, "x", None]}},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with wandb_server(tmp_path_factory.mktemp("wandb")) as place:
        yield place


@pytest.fixture
def wandb_place(server: Place) -> WandbPlace:
    return WandbPlace(project=new_id(), server=server.url)


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Backend]:
    with LocalBackend.open(str(tmp_path / "ours.db")) as backend:
        yield backend


def _fill(backend: Backend, ends: tuple[str, ...] = ("finished", "failed", "killed")) -> str:
    """A sweep with a run for each end."""
    sweep_id = new_id()
    sweep = Sweep(
        id=sweep_id, name="a sweep", project="ours", config=CONFIG, created_at=T0, meta={"a": 1.5}
    )
    backend.apply([PutSweep(sweep)])
    for number, state in enumerate(ends):
        run_id, begun = new_id(), T0 + 100 * number
        rows = [
            Row(step, begun + step, {"loss": 2.0 / (step + 1), "n": step, "bad": math.inf})
            for step in range(0, 6, number + 1)
        ]
        config = {"lr": 1.0, "deep": {"x": [1, 2.0]}, "n": None}
        meta = {"trial_id": f"t{number}", "wandb.tags": ["one", "two"]}
        run = Run(
            id=run_id,
            sweep_id=sweep_id,
            name=f"run {number}",
            config=config,
            created_at=begun,
            meta=meta,
        )
        end = {"state": state, "message": "why", "exit_code": number, "summary": {"more": 7.0}}
        backend.apply(
            [
                PutRun(run),
                PatchRun(run_id, {"state": "running"}, begun + 1),
                LogRows(run_id, rows),
                PatchRun(run_id, end, begun + 50),
            ]
        )
    backend.apply([PatchSweep(sweep_id, {"state": "finished"}, T0 + 999)])
    return sweep_id


def _said(backend: Backend, sweep_id: str) -> object:
    """All that has to be the same on both ends."""
    sweep = backend.sweep(sweep_id)
    runs = [msgspec.structs.replace(run, updated_at=0.0) for run in backend.runs(sweep_id)]
    return comparable(
        {
            "sweep": [sweep.id, sweep.name, sweep.state, sweep.config, sweep.meta, sweep.ended_at],
            "runs": runs,
            "rows": {run.id: backend.history(run.id) for run in runs},
        }
    )


def test_there_and_back(ours: Backend, wandb_place: WandbPlace, tmp_path: Path) -> None:
    sweep_id = _fill(ours)
    steps: list[Step] = []
    with WandbBackend(wandb_place) as wandb:
        moved = push(ours, wandb, sweep_id, steps.append)
        found = wandb.door.api.sweep(moved.path)
        assert found.state == "FINISHED"
        assert [run.state for run in found.runs] == ["finished", "failed", "killed"]
        assert found.runs[0].tags == ["one", "two"]
    assert (moved.runs, moved.added, moved.rows, moved.left) == (3, 3, 11, [])
    assert steps[-1] == Step(3, 3, 11)
    with WandbBackend(wandb_place) as wandb, LocalBackend.open(str(tmp_path / "b.db")) as other:
        back = pull(wandb, other, moved.path)
        assert (back.sweep, back.added, back.rows) == (sweep_id, 3, 11)
        assert _said(other, sweep_id) == _said(ours, sweep_id)
        before = other.version()
        again = pull(wandb, other, moved.path)
        assert (again.added, again.rows) == (0, 0)
        assert _said(other, sweep_id) == _said(ours, sweep_id)
        assert before


def test_pushing_again_adds_what_is_new(ours: Backend, wandb_place: WandbPlace) -> None:
    sweep_id = _fill(ours, ("finished", "running"))
    running = ours.runs(sweep_id)[1].id
    with WandbBackend(wandb_place) as wandb:
        first = push(ours, wandb, sweep_id)
        assert (first.runs, first.added, first.waiting) == (1, 1, 1)
        before = wandb.version(sweep_id)
    with WandbBackend(wandb_place) as wandb:
        again = push(ours, wandb, sweep_id)
        assert (again.path, again.added, again.rows) == (first.path, 0, 0)
        assert wandb.version(sweep_id) == before
    ours.apply(
        [
            LogRows(running, [Row(9, T0 + 500, {"loss": 0.0})]),
            PatchRun(running, {"state": "finished"}, T0 + 501),
        ]
    )
    with WandbBackend(wandb_place) as wandb:
        last = push(ours, wandb, sweep_id)
        assert (last.path, last.runs, last.added, last.waiting) == (first.path, 2, 1, 0)
        assert len(wandb.sweeps()) == 1
        assert [row.step for row in wandb.history(running)] == [0, 2, 4, 9]


def test_one_that_broke_off_goes_on(ours: Backend, wandb_place: WandbPlace) -> None:
    sweep_id = _fill(ours, ("finished",))
    (run,) = ours.runs(sweep_id)
    with WandbBackend(wandb_place) as wandb:  # as a process that was killed would leave it
        half = ours.history(run.id)[:2]
        wandb.begin(ours.sweep(sweep_id))
        wandb.apply(
            [
                PutRun(msgspec.structs.replace(run, state="running", rows=0, last_step=-1)),
                LogRows(run.id, half),
            ]
        )
    with WandbBackend(wandb_place) as wandb:
        moved = push(ours, wandb, sweep_id)
        assert (moved.added, moved.rows) == (0, 4)
        assert wandb.history(run.id) == ours.history(run.id)
        assert wandb.run(run.id).state == "finished"
        assert len(wandb.sweeps()) == 1


def test_a_sweep_that_others_made(server: Place, wandb_place: WandbPlace, ours: Backend) -> None:
    project = wandb_place.project
    made = server.python(
        f"""
        sweep = wandb.sweep({CONFIG!r}, project={project!r})
        run = wandb.init(project={project!r}, settings=wandb.Settings(sweep_id=sweep),
                         config={{"lr": 0.5}}, name="theirs", tags=["t"])
        for n in range(3):
            run.log({{"loss": 1 / (n + 1)}})
        run.finish()
        answer([sweep, run.id])
        """
    )
    with WandbBackend(wandb_place) as wandb:
        moved = pull(wandb, ours, f"local/{project}/{made[0]}")
    assert (moved.sweep, moved.runs, moved.rows) == (made[0], 1, 3)
    (run,) = ours.runs(made[0])
    assert (run.id, run.name, run.state, run.config) == (
        made[1],
        "theirs",
        "finished",
        {"lr": 0.5},
    )
    assert run.meta["wandb.tags"] == ["t"]
    assert [row.values["loss"] for row in ours.history(run.id)] == [1, 0.5, 1 / 3]


class TestCommands:
    def test_push_and_pull(
        self, ours: LocalBackend, wandb_place: WandbPlace, tmp_path: Path
    ) -> None:
        sweep_id = _fill(ours, ("finished",))
        arguments = ["push", sweep_id, "--backend", ours.url, "--to", wandb_place.url]
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
        assert "1 runs, 1 new, 6 rows added" in done.output
        again = CliRunner().invoke(cli, [*arguments, "--json"])
        said = json.loads(again.stdout)
        assert (said["added"], said["rows"]) == (0, 0)
        other = str(tmp_path / "other.db")
        arguments = ["pull", said["path"], "--from", wandb_place.url, "--backend", other]
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
        with LocalBackend.open(other) as backend:
            assert _said(backend, sweep_id) == _said(ours, sweep_id)

    def test_what_is_not_there(
        self, ours: LocalBackend, wandb_place: WandbPlace, tmp_path: Path
    ) -> None:
        arguments = ["push", "nosuch", "--backend", ours.url, "--to", wandb_place.url]
        done = CliRunner().invoke(cli, arguments)
        assert isinstance(done.exception, NotFoundError)
        target = tmp_path / "new.db"
        arguments = ["pull", "a/b/nosuch", "--from", wandb_place.url, "--backend", str(target)]
        done = CliRunner().invoke(cli, arguments)
        assert isinstance(done.exception, NotFoundError)
        assert not target.exists()

    @pytest.mark.parametrize(
        "arguments",
        [
            ["push", "x", "--to", "sqlite:///a.db"],
            ["push", "x", "--backend", "wandb"],
            ["pull", "x", "--from", "somewhere"],
            ["pull", "x", "--backend", "wandb://a/b"],
        ],
    )
    def test_wrong_places(self, arguments: list[str]) -> None:
        done = CliRunner().invoke(cli, arguments)
        assert "W&B" in str(done.exception)
