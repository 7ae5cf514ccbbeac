"""`WandbBackend`: W&B's own client in this process, and our server in the place of W&B."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wandb")
pytest.importorskip("uvicorn")

from tests.server.wandb.conftest import Place
from tests.wandb_server import KEY, wandb_server
from tune_bridge.backends import open_backend, places
from tune_bridge.backends.base import (
    LogEvents,
    LogRows,
    Operation,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
    Row,
    Run,
    Sweep,
    new_id,
)
from tune_bridge.backends.wandb import WandbPlace, parse_place
from tune_bridge.backends.wandb.backend import WandbBackend
from tune_bridge.backends.wandb.records import floats_of, with_floats
from tune_bridge.errors import (
    BackendError,
    InputError,
    MissingExtraError,
    NotFoundError,
    UnsupportedError,
)
from tune_bridge.handle import open_sweep
from tune_bridge.testing.backends import BackendTestCase

CONFIG: dict[str, Any] = {
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"min": 0.0, "max": 1.0}},
    "controller": {"type": "cloud", "tune": {"version": 1, "num_samples": 3}},
}
T0 = 1_700_000_000.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with wandb_server(tmp_path_factory.mktemp("wandb")) as place:
        yield place


def _open(server: Place, project: str | None = None) -> WandbBackend:
    place = WandbPlace(project=project or new_id(), server=server.url)
    return WandbBackend(place, transmit_interval=1.0)


@pytest.fixture
def backend(server: Place) -> Iterator[WandbBackend]:
    with _open(server) as backend:
        yield backend


def _operations(sweep_id: str, run_id: str) -> list[Operation]:
    return [
        PutSweep(
            Sweep(id=sweep_id, name="mine", config=CONFIG, created_at=T0, meta={"made_by": "me"})
        ),
        PutRun(
            Run(
                id=run_id,
                sweep_id=sweep_id,
                name="first",
                config={"lr": 1.0, "layers": [{"n": 2.0}, 3], "none": None},
                created_at=T0,
                meta={"trial_id": "t", "x": 0.5},
            )
        ),
        PatchRun(run_id, {"state": "running"}, T0 + 1),
        LogRows(
            run_id,
            [
                Row(step, T0 + step, {"loss": 4.0 / (step + 1), "n": step, "bad": math.nan})
                for step in (0, 1, 5)
            ],
        ),
        PatchRun(run_id, {"state": "killed", "message": "why not", "exit_code": -9}, T0 + 9),
        PatchSweep(sweep_id, {"state": "finished"}, T0 + 10),
    ]


def _select(*names: str) -> Any:
    """The part of the suite that W&B can hold; `tune_bridge.backends.wandb.backend` says the rest.

    Reading what was just written waits for the client's upload, a second or so each time.
    """

    def strip(case: type) -> type:
        for name in dir(BackendTestCase):
            if name.startswith("test_") and name not in names:
                setattr(case, name, None)
        return case

    return strip


@_select(
    "test_what_cannot_be_kept_is_refused",
    "test_a_run_is_deleted_with_its_rows",
    "test_all_or_nothing",
    "test_put_of_what_exists",
    "test_end_counts_although_clocks_differ",
    "test_what_does_not_exist",
    "test_runs_in_order_of_creation",
    "test_histories_take_only_numbers",
    "test_close",
)
class TestConformance(BackendTestCase):
    @pytest.fixture
    def backend(self, server: Place) -> Iterator[WandbBackend]:
        with _open(server) as backend:
            yield backend


class TestKept:
    def test_all_is_there_for_another_process(self, server: Place, backend: WandbBackend) -> None:
        sweep_id, run_id = new_id(), new_id()
        operations = _operations(sweep_id, run_id)
        backend.apply(operations)
        with _open(server, backend.place.project) as other:
            other.apply(operations)  # found by the id that it was put with, and not made twice
            sweep = other.sweep(sweep_id)
            assert (sweep.name, sweep.state, sweep.created_at) == ("mine", "finished", T0)
            assert sweep.config == CONFIG
            assert sweep.meta == {"made_by": "me"}
            run = other.run(run_id)
            assert (run.state, run.message, run.exit_code) == ("killed", "why not", -9)
            assert (run.created_at, run.started_at, run.ended_at) == (T0, T0 + 1, T0 + 9)
            assert repr(run.config["lr"]) == "1.0"
            assert repr(run.config["layers"]) == "[{'n': 2.0}, 3]"
            assert run.config["none"] is None
            assert run.meta == {"trial_id": "t", "x": 0.5}
            rows = other.history(run_id)
            assert [(row.step, row.time) for row in rows] == [(s, T0 + s) for s in (0, 1, 5)]
            assert [repr(row.values["loss"]) for row in rows[:2]] == ["4.0", "2.0"]
            assert [repr(row.values["n"]) for row in rows] == ["0", "1", "5"]
            assert all(math.isnan(row.values["bad"]) for row in rows)
            assert other.runs(sweep_id) == [run]
            before = other.version(sweep_id)
            other.apply(operations)
            assert other.version(sweep_id) == before
            assert [each.name for each in other.sweeps()] == ["mine"]

    def test_what_wandb_shows(self, server: Place, backend: WandbBackend) -> None:
        sweep_id, run_id = new_id(), new_id()
        backend.apply(_operations(sweep_id, run_id))
        found = backend.door.api.sweep(backend.path(sweep_id))
        assert (found.name, found.state) == ("mine", "FINISHED")
        assert found.config["controller"]["tune"] == CONFIG["controller"]["tune"]
        (run,) = found.runs
        assert (run.id, run.name, run.state) == (run_id, "first", "killed")
        assert run.summary["loss"] == pytest.approx(4 / 6)
        assert backend.page(sweep_id).startswith(f"{server.url}/local/{backend.place.project}/")

    def test_rows_go_on_behind_those_that_are_there(
        self, server: Place, backend: WandbBackend
    ) -> None:
        sweep_id, run_id = new_id(), new_id()
        backend.apply(_operations(sweep_id, run_id)[:4])
        backend.close()
        with _open(server, backend.place.project) as other:
            other.sweep(sweep_id)
            rows = [Row(step, T0 + 20, {"loss": 0.5}) for step in (1, 5, 6)]
            other.apply([LogRows(run_id, rows), PatchRun(run_id, {"state": "failed"}, T0 + 30)])
            assert [row.step for row in other.history(run_id)] == [0, 1, 5, 6]
            assert other.history(run_id)[1].values["n"] == 1
            assert other.run(run_id).state == "failed"

    @pytest.mark.parametrize("state", ["finished", "failed", "killed", "crashed"])
    def test_ends(self, backend: WandbBackend, state: str) -> None:
        sweep = backend.create_sweep(CONFIG)
        run_id = new_id()
        backend.apply([PutRun(Run(id=run_id, sweep_id=sweep.id, created_at=T0))])
        backend.apply([PatchRun(run_id, {"state": state, "stopped_early": True}, T0 + 1)])
        run = backend.run(run_id)
        assert (run.state, run.stopped_early) == (state, True)
        shown = backend.door.api.run(f"local/{sweep.project}/{run_id}").state
        assert shown == {"crashed": "failed"}.get(state, state)

    def test_which_project(self, server: Place) -> None:
        for of_place, given, meant in (("a", None, "a"), ("a", "b", "b"), (None, "b", "b")):
            with WandbBackend(WandbPlace(project=of_place, server=server.url)) as backend:
                assert backend.create_sweep(CONFIG, project=given).project == meant

    def test_it_is_looked_at(self, server: Place, backend: WandbBackend) -> None:
        """As `tune_bridge.open_sweep` does, by the id alone and by the whole path."""
        sweep = backend.create_sweep(CONFIG, name="looked at")
        runs = [
            Run(id=new_id(), sweep_id=sweep.id, created_at=T0, config={"lr": 0.1 * n})
            for n in (1, 2)
        ]
        backend.apply([PutRun(run) for run in runs])
        backend.apply([LogRows(run.id, [Row(0, T0, {"loss": run.config["lr"]})]) for run in runs])
        backend.apply([PatchRun(run.id, {"state": "finished"}, T0 + 1) for run in runs])
        for path in (sweep.id, backend.path(sweep.id)):
            with open_sweep(path, backend=backend) as opened:
                assert opened.url == backend.page(sweep.id)
                assert list(opened.runs()["summary.loss"]) == [0.1, 0.2]
                assert opened.best().run_id == runs[0].id
                assert "looked at" in opened._repr_html_()

    def test_a_sweep_of_nothing(self, backend: WandbBackend) -> None:
        sweep = backend.create_sweep({}, name="empty", state="canceled")
        assert (sweep.config, sweep.name) == ({}, "empty")
        assert backend.sweep(sweep.id).state == "canceled"

    @pytest.mark.slow
    def test_a_stop_comes_back(self, backend: WandbBackend) -> None:
        sweep = backend.create_sweep(CONFIG)
        run_id, other = new_id(), new_id()
        backend.apply([PutRun(Run(id=each, sweep_id=sweep.id)) for each in (run_id, other)])
        backend.door.api.run(f"local/{sweep.project}/{run_id}").stop()
        step, until = 0, time.monotonic() + 120
        while not backend.stop_requests() and time.monotonic() < until:
            # Rows, because the client hears of a stop in the answers to what it uploads.
            backend.apply([LogRows(each, [Row(step, T0, {"a": 1})]) for each in (run_id, other)])
            step += 1
            time.sleep(0.25)
        assert backend.stop_requests() == {run_id}


class TestRefused:
    def test_what_wandb_has_no_place_for(self, backend: WandbBackend) -> None:
        sweep = backend.create_sweep(CONFIG)
        with pytest.raises(UnsupportedError, match="no events"):
            backend.apply([LogEvents(sweep.id, 0, [{}], T0)])
        with pytest.raises(UnsupportedError, match="meta"):
            backend.apply([PatchSweep(sweep.id, {"meta": {"a": 1}}, T0)])
        with pytest.raises(UnsupportedError, match="cannot delete a sweep"):
            backend.delete_sweep(sweep.id)
        assert backend.events(sweep.id) == []

    def test_a_config_that_wandb_refuses(self, backend: WandbBackend) -> None:
        with pytest.raises(InputError, match="unknown method"):
            backend.create_sweep({"method": "guess", "parameters": {"a": {"value": 1}}})

    def test_nobody_is_there(self, server: Place) -> None:
        with (
            WandbBackend(parse_place("wandb://e/p?server=http://127.0.0.1:1")) as backend,
            pytest.raises(BackendError, match=r"127\.0\.0\.1:1: W&B does not answer"),
        ):
            backend.create_sweep(CONFIG)

    def test_keys(self, server: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_API_KEY", "short")
        with _open(server) as backend, pytest.raises(InputError, match="WANDB_API_KEY"):
            backend.create_sweep(CONFIG)
        monkeypatch.delenv("WANDB_API_KEY")
        with _open(server) as backend, pytest.raises(InputError, match="there is no key"):
            backend.create_sweep(CONFIG)

    def test_a_wrong_key(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with wandb_server(tmp_path, key=KEY) as server:
            monkeypatch.setenv("WANDB_API_KEY", KEY[::-1].replace("-", "0"))
            with _open(server) as backend, pytest.raises(InputError, match="refuses the key"):
                backend.create_sweep(CONFIG)
            monkeypatch.setenv("WANDB_API_KEY", KEY)
            with _open(server) as backend:
                assert backend.create_sweep(CONFIG).config == CONFIG

    def test_no_such_sweep(self, backend: WandbBackend) -> None:
        with pytest.raises(NotFoundError, match="somebody/something/nosuch"):
            backend.sweep("somebody/something/nosuch")


class TestPlaces:
    @pytest.mark.parametrize(
        ("url", "place"),
        [
            ("wandb", WandbPlace()),
            ("wandb://", WandbPlace()),
            ("wandb://team", WandbPlace("team")),
            ("wandb://team/my%20project", WandbPlace("team", "my project")),
            ("wandb://t/p?server=http://a:1/", WandbPlace("t", "p", "http://a:1")),
        ],
    )
    def test_names(self, url: str, place: WandbPlace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("WANDB_BASE_URL", raising=False)
        assert parse_place(url) == place
        assert parse_place(place.url) == place
        assert places.canonical(url) == place.url

    def test_the_server_belongs_to_the_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_BASE_URL", "http://here:8080")
        assert places.canonical("wandb://t") == "wandb://t?server=http%3A%2F%2Fhere%3A8080"

    @pytest.mark.parametrize("url", ["wandb://a/b/c", "wandb://a?x=1", "wandb://?server=nonsense"])
    def test_wrong_names(self, url: str) -> None:
        with pytest.raises(InputError, match="W&B"):
            parse_place(url)

    def test_opened_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with open_backend("wandb://team/project") as backend:
            assert isinstance(backend, WandbBackend)
        monkeypatch.setenv("TUNE_BRIDGE_BACKEND", "wandb")
        with open_backend() as backend:
            assert isinstance(backend, WandbBackend)

    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "wandb", None)
        with pytest.raises(MissingExtraError, match=r"tune-bridge\[wandb\]"):
            open_backend("wandb")


def test_floats_come_back() -> None:
    value = {"a": 1.0, "b": [1, 2.0, {"c.d": 3.0}], "e": 0.5, "f": True, "g": "1.0"}
    through = {"a": 1, "b": [1, 2, {"c.d": 3}], "e": 0.5, "f": True, "g": "1.0"}
    assert repr(with_floats(through, floats_of(value))) == repr(value)
