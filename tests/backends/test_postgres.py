"""PostgresBackend: the conformance suite, and what is particular to PostgreSQL."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from tests.postgres import Cluster, running
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import LogRows, PatchSweep, PutRun, PutSweep, Row, Run, Sweep
from tune_bridge.backends.postgres import PostgresBackend, _Steering
from tune_bridge.backends.schema import VERSION_TABLE, metadata
from tune_bridge.backends.writer import Writer
from tune_bridge.controller import Controller
from tune_bridge.errors import BackendError, InputError, NotFoundError, OccupiedError
from tune_bridge.testing.backends import BackendTestCase

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres: Cluster) -> str:
    """Of a fresh database with our tables."""
    return postgres.ready()


@pytest.fixture
def empty(postgres: Cluster) -> str:
    """Of a fresh database."""
    return postgres.create()


class TestPostgresBackend(BackendTestCase):
    @pytest.fixture
    def connect(self, url: str):
        return functools.partial(open_backend, url)

    @pytest.fixture
    def backend(self, connect) -> Iterator:
        with connect() as backend:
            yield backend


class TestWhatIsKept:
    def test_nul_in_names_and_messages(self, url: str) -> None:
        texts = ["a\0b", "\ufdd0", "\ufdd00", "\0\ufdd0\ufdd01\0", "ü\U0001f39b\x01"]
        with open_backend(url) as backend:
            sweep = backend.create_sweep({"x": texts}, project=texts[0], name=texts[1])
            for number, text in enumerate(texts):
                run = Run(id=f"{number}{text}", sweep_id=sweep.id, name=text, message=text)
                rows = [Row(0, 1.0, {text: text})]
                backend.apply([PutRun(run), LogRows(run.id, rows)])
                kept = backend.run(run.id)
                assert (kept.id, kept.name, kept.message) == (run.id, text, text)
                assert backend.history(run.id, keys=[text]) == rows
            assert backend.sweep(sweep.id) == sweep
            assert [run.message for run in backend.runs(sweep.id)] == texts
            assert backend.sweeps(project=texts[0]) == [sweep]

    def test_order_of_keys(self, url: str) -> None:
        config = {"z": 1, "a": {"y": 2, "b": 3}, "10": 0, "9": 0}
        with open_backend(url) as backend:
            sweep = backend.create_sweep(config)
            assert json.dumps(backend.sweep(sweep.id).config) == json.dumps(config)

    @pytest.mark.parametrize(
        "run",
        [
            {"exit_code": 2**63},
            {"name": "\ud800"},
            {"id": "long " * 100_000},
            {"started_at": "noon"},
        ],
    )
    def test_what_it_cannot_hold(self, url: str, run: dict[str, Any]) -> None:
        with open_backend(url) as backend:
            sweep = backend.create_sweep({})
            with pytest.raises(InputError):
                backend.apply([PutRun(Run(**{"id": "r", "sweep_id": sweep.id, **run}))])
            assert backend.runs(sweep.id) == []

    def test_a_step_twice_in_one_apply(self, url: str) -> None:
        with open_backend(url) as backend:
            sweep = backend.create_sweep({})
            rows = [Row(1, 5.0, {"x": 1}), Row(1, 7.0, {"x": 2}), Row(1, 6.0, {"x": 3})]
            backend.apply([PutRun(Run(id="r", sweep_id=sweep.id)), LogRows("r", rows)])
            assert backend.history("r") == [Row(1, 7.0, {"x": 2})]


class TestOpening:
    def test_migrations_make_the_schema(self, postgres: Cluster, empty: str) -> None:
        open_backend(empty).close()
        made = postgres.create()
        engine = sa.create_engine(made.replace("postgresql://", "postgresql+psycopg://"))
        metadata.create_all(engine)
        engine.dispose()
        found = [_columns(postgres, place) for place in (empty, made)]
        assert found[0].pop((VERSION_TABLE, "version_num"))
        assert found[0] == found[1]

    def test_database_of_another_program(self, postgres: Cluster, empty: str) -> None:
        with postgres.connect(_name(empty)) as connection:
            connection.execute("CREATE TABLE studies (id INTEGER)")
        with pytest.raises(BackendError, match=r"another program .*'studies'.*schema of its own"):
            open_backend(empty)
        with postgres.connect(_name(empty)) as connection:
            connection.execute("CREATE SCHEMA ours")
        with open_backend(f"{empty}?options=-csearch_path%3Dours") as backend:
            backend.create_sweep({})
            assert len(backend.sweeps()) == 1

    def test_newer_schema(self, postgres: Cluster, empty: str) -> None:
        open_backend(empty).close()
        with postgres.connect(_name(empty)) as connection:
            connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        with pytest.raises(BackendError, match=r"newer tune-bridge.*9999"):
            open_backend(empty)

    def test_another_encoding(self, postgres: Cluster) -> None:
        with pytest.raises(BackendError, match="encoding is LATIN1, expected UTF8"):
            open_backend(postgres.create("ENCODING 'LATIN1' TEMPLATE template0"))

    def test_first_opened_by_many_at_once(self, empty: str) -> None:
        start = threading.Barrier(4)

        def work(number: int) -> None:
            start.wait(60)
            with open_backend(empty) as backend:
                backend.apply([PutSweep(Sweep(id=str(number)))])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        with open_backend(empty) as backend:
            assert {sweep.id for sweep in backend.sweeps()} == {"0", "1", "2", "3"}

    def test_messages_hide_the_password(self, postgres: Cluster, url: str) -> None:
        wrong = "not-the-\u00fc-password"
        for place, words in (
            (postgres.url("none"), '"none" does not exist; make it'),
            (postgres.url("postgres", password=wrong), "authentication failed.*; check the user"),
            (postgres.url("postgres").replace(f":{postgres.port}", ":1"), "refused.*; start"),
            (f"postgresql://tester:{wrong}@127.0.0.1:port/x", "no URL of a database"),
            (f"postgresql+other://tester:{wrong}@127.0.0.1/x", "no kind of database"),
            (f"{url}?sslmode=perhaps", "perhaps"),
        ):
            with pytest.raises(BackendError, match=words) as caught:
                open_backend(place)
            for secret in (wrong, quote(wrong, safe=""), postgres.password, "s3cret"):
                assert secret not in str(caught.value)
            assert "\n" not in str(caught.value)
        with open_backend(url) as backend:
            secret = quote(postgres.password, safe="")
            assert backend.url == url.replace(f":{secret}", "")
            assert "s3cret" not in f"{backend.url} {backend!r}"
            with pytest.raises(NotFoundError) as missing:
                backend.sweep("none")
            assert "s3cret" not in str(missing.value)

    def test_without_the_extra(self, url: str) -> None:
        code = (
            "import sys; sys.modules['psycopg'] = None\n"
            "from tune_bridge.backends import open_backend\n"
            "from tune_bridge.errors import MissingExtraError\n"
            f"try: open_backend({url!r})\n"
            "except MissingExtraError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "pip install 'tune-bridge[postgres]'" in done.stdout, done.stderr


class TestConcurrency:
    def test_runs_of_many_sweeps_in_any_order(self, url: str) -> None:
        """Nobody ends in a deadlock, whatever order operations come in."""
        with open_backend(url) as backend:
            ids = [backend.create_sweep({}).id for _ in range(4)]
            backend.apply([PutRun(Run(id=f"r{i}", sweep_id=i)) for i in ids])
            start = threading.Barrier(4)

            def work(number: int) -> None:
                start.wait(60)
                order = ids[number:] + ids[:number]
                for step in range(number, 60, 4):
                    rows = [Row(step, float(step), {"x": step})]
                    backend.apply([LogRows(f"r{i}", rows) for i in order])
                    backend.apply([PatchSweep(i, {"meta": {f"k{step}": 1}}, 1.0) for i in order])

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(work, range(4)))
            for sweep_id in ids:
                assert backend.run(f"r{sweep_id}").rows == 60
                assert len(backend.sweep(sweep_id).meta) == 60

    def test_writers_of_other_sweeps_do_not_wait(self, postgres: Cluster, url: str) -> None:
        with PostgresBackend.open(url, lock_timeout=0.2) as backend:
            held, free = backend.create_sweep({}), backend.create_sweep({})
            with postgres.connect(_name(url)) as other, other.transaction():
                other.execute("SELECT FROM sweeps WHERE id = %s FOR UPDATE", [held.id])
                backend.update_sweep(free.id, name="new")
                with pytest.raises(BackendError, match="lock timeout; another process writes"):
                    backend.update_sweep(held.id, name="new")
                assert backend.sweep(held.id) == held, "readers wait for nobody"
            backend.update_sweep(held.id, name="new")
            assert backend.sweep(held.id).name == "new"

    def test_one_process_steers_a_sweep(self, url: str) -> None:
        with open_backend(url) as first, open_backend(url) as second:
            sweep, other = first.create_sweep({}).id, first.create_sweep({}).id
            first.steer(sweep)
            first.steer(sweep)
            second.steer(other)
            with pytest.raises(OccupiedError, match=rf"sweep {sweep}: .*process {os.getpid()}"):
                second.steer(sweep)
            with pytest.raises(OccupiedError):
                first.steer(other)
            first.close()
            second.steer(sweep)
            second.delete_sweep(other)
            with open_backend(url) as third:
                third.steer(other)

    def test_a_controller_steers_alone(self, url: str) -> None:
        config = {"method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}}
        with open_backend(url) as first, open_backend(url) as second:
            one, other = Controller(first), Controller(second)
            sweep = one.create(config).id
            claim = one.sweep(sweep).claim("agent", "host", "1")
            with pytest.raises(OccupiedError):
                other.sweep(sweep)
            assert other.resume() == []
            first.close()
            assert other.resume() == [sweep]
            assert list(other.sweep(sweep).state.live) == [claim.run]


class TestLoss:
    def test_a_server_that_was_away(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(_Steering, "checked_every", 0.0)
        with running() as cluster, open_backend(url := cluster.create()) as backend:
            sweep = backend.create_sweep({})
            backend.apply([PutRun(Run(id="r", sweep_id=sweep.id))])
            backend.steer(sweep.id)
            with Writer(url, spool_dir=tmp_path, flush_interval=0.01) as writer:
                writer.put(LogRows("r", [Row(0, 0.0, {"x": 0})]))
                assert writer.flush(60)
                cluster.stop()
                for ask in (
                    lambda: backend.run("r"),
                    lambda: backend.runs(sweep.id),
                    lambda: backend.update_run("r", name="new"),
                ):
                    with pytest.raises(BackendError, match="refused"):
                        ask()
                writer.put(LogRows("r", [Row(1, 1.0, {"x": 1})]))
                assert not writer.flush(0.5)
                cluster.start()
                assert writer.flush(60)
            assert [row.step for row in backend.history("r")] == [0, 1]
            backend.update_run("r", name="new")
            backend.steer(sweep.id)
            with open_backend(url) as other, pytest.raises(OccupiedError):
                other.steer(sweep.id)
        assert "is back" in caplog.text
        assert "s3cret" not in caplog.text
        assert "Traceback" not in caplog.text

    def test_broken_connections_are_replaced(self, postgres: Cluster, url: str) -> None:
        with open_backend(url) as backend:
            sweep = backend.create_sweep({})
            backend.steer(sweep.id)
            for ask in (
                lambda: backend.sweep(sweep.id),
                lambda: backend.runs(sweep.id),
                lambda: backend.update_sweep(sweep.id, name="new"),
                lambda: backend.version(),
            ):
                with postgres.connect() as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                        [_name(url)],
                    )
                ask()
            assert backend.sweep(sweep.id).name == "new"


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _columns(postgres: Cluster, url: str) -> dict[tuple[str, str], tuple]:
    with postgres.connect(_name(url)) as connection:
        found = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable "
            "FROM information_schema.columns WHERE table_schema = 'public'"
        ).fetchall()
        indexes = connection.execute(
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        ).fetchall()
    return {
        **{(table, column): (kind, null) for table, column, kind, null in found},
        **{(table, name): (text,) for table, name, text in indexes if table != VERSION_TABLE},
    }
