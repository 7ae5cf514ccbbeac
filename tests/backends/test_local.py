"""LocalBackend: the conformance suite, and what is particular to SQLite files."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tune_bridge.backends import open_backend
from tune_bridge.backends.base import LogRows, PutRun, PutSweep, Row, Run, Sweep
from tune_bridge.backends.local import LocalBackend
from tune_bridge.backends.schema import HEAD, VERSION_TABLE, metadata
from tune_bridge.errors import BackendError, InputError
from tune_bridge.testing.backends import BackendTestCase


class TestLocalBackend(BackendTestCase):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> functools.partial[LocalBackend]:
        return functools.partial(LocalBackend.open, str(tmp_path / "sweeps.db"))

    @pytest.fixture
    def backend(self, connect: functools.partial[LocalBackend]) -> Iterator[LocalBackend]:
        with connect() as backend:
            yield backend


class TestPlaces:
    def test_path_and_url(self, tmp_path: Path) -> None:
        path = tmp_path / "some" / "where" / "my sweeps.db"
        with open_backend(str(path)) as backend:
            sweep = backend.create_sweep({})
        with open_backend(f"sqlite:///{path}") as backend:
            assert backend.sweep(sweep.id) == sweep
            assert backend.url == f"sqlite:///{path}"

    def test_default(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TUNE_BRIDGE_BACKEND", raising=False)
        monkeypatch.setenv("TUNE_BRIDGE_HOME", str(tmp_path / "home"))
        open_backend().close()
        assert (tmp_path / "home" / "sweeps.db").is_file()
        monkeypatch.setenv("TUNE_BRIDGE_BACKEND", f"sqlite:///{tmp_path}/other.db")
        open_backend().close()
        assert (tmp_path / "other.db").is_file()

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("sqlite://", "names no file"),
            (":memory:", "no place"),
            ("mysql://host/name", "mysql.*postgresql://"),
            ("what://ever", "what"),
            ("://", "no URL"),
        ],
    )
    def test_no_such_kind_of_place(self, url: str, words: str) -> None:
        with pytest.raises(BackendError, match=words):
            open_backend(url)

    def test_no_database(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("lr: 0.1\n" * 1000)
        with pytest.raises(BackendError, match=r"notes\.txt: file is not a database; name another"):
            open_backend(str(path))
        assert path.read_text() == "lr: 0.1\n" * 1000

    def test_corrupted_database(self, tmp_path: Path) -> None:
        path = tmp_path / "sweeps.db"
        with open_backend(str(path)) as backend:
            backend.create_sweep({"a": "x" * 100_000})
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        with pytest.raises(BackendError, match="malformed"), open_backend(str(path)) as backend:
            backend.sweeps()

    def test_database_of_another_program(self, tmp_path: Path) -> None:
        path = tmp_path / "other.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE studies (id INTEGER)")
        with pytest.raises(BackendError, match="another program"):
            open_backend(str(path))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        assert tables == [("studies",)]

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BackendError, match="is a folder"):
            open_backend(str(tmp_path))

    def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(BackendError, match="cannot be made"):
            open_backend(str(tmp_path / "file" / "sweeps.db"))

    def test_read_only(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sweeps.db"
            open_backend(str(path)).close()
            fresh = Path(folder) / "fresh.db"
            path.chmod(0o444)
            Path(folder).chmod(0o555)
            with _without_privileges():
                with pytest.raises(BackendError, match=r"sweeps\.db: .*writable"):
                    open_backend(str(path))
                with pytest.raises(BackendError, match=r"fresh\.db: .*another"):
                    open_backend(str(fresh))
            Path(folder).chmod(0o755)

    def test_error_names_no_library(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("x" * 1000)
        code = f"from tune_bridge.backends import open_backend; open_backend({str(path)!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 1
        assert "sqlalchemy" not in done.stderr


@contextlib.contextmanager
def _without_privileges() -> Iterator[None]:
    """As nobody, when this is root: permissions do not count for root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class TestSchema:
    def test_current_file_is_opened_without_alembic(self, tmp_path: Path) -> None:
        path = str(tmp_path / "sweeps.db")
        open_backend(path).close()
        code = (
            "import sys; from tune_bridge.backends import open_backend; "
            f"open_backend({path!r}).sweeps(); print('alembic' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "False\n", done.stderr

    def test_import_is_light(self) -> None:
        code = "import sys, tune_bridge.backends; print('sqlalchemy' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "False\n", done.stderr

    def test_migrations_make_the_schema(self, tmp_path: Path) -> None:
        open_backend(str(tmp_path / "migrated.db")).close()
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'made.db'}")
        metadata.create_all(engine)
        migrated, made = (_schema(tmp_path / name) for name in ("migrated.db", "made.db"))
        assert migrated.pop(VERSION_TABLE)
        assert migrated == made

    def test_head(self) -> None:
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        from tune_bridge.backends import migrations

        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.set_main_option("path_separator", "os")
        assert ScriptDirectory.from_config(config).get_heads() == [HEAD]

    def test_empty_file(self, tmp_path: Path) -> None:
        path = tmp_path / "sweeps.db"
        path.touch()
        with open_backend(str(path)) as backend:
            assert backend.sweeps() == []

    def test_schema_before_the_first_version(self, tmp_path: Path) -> None:
        """What a process leaves that ends between the version table and the first migration."""
        path = tmp_path / "sweeps.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32))")
        with open_backend(str(path)) as backend:
            backend.create_sweep({})

    def test_newer_schema(self, tmp_path: Path) -> None:
        path = tmp_path / "sweeps.db"
        open_backend(str(path)).close()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
            connection.commit()
        with pytest.raises(BackendError, match=r"newer tune-bridge.*9999"):
            open_backend(str(path))

    @pytest.mark.slow
    def test_first_opened_by_many_at_once(self, tmp_path: Path) -> None:
        path = str(tmp_path / "new" / "sweeps.db")
        context = multiprocessing.get_context("spawn")
        start = context.Barrier(4)
        processes = [
            context.Process(target=_open_and_write, args=(path, start, str(number)))
            for number in range(4)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0] * 4
        with open_backend(path) as backend:
            assert {sweep.id for sweep in backend.sweeps()} == {"0", "1", "2", "3"}


def _schema(path: Path) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: " ".join(sql.split()) for name, sql in found}


def _open_and_write(path: str, start, sweep_id: str) -> None:
    import tune_bridge.backends.local  # noqa: F401 - so that all are ready at the same time

    start.wait(60)
    with open_backend(path) as backend:
        backend.apply([PutSweep(Sweep(id=sweep_id))])


_WRITER = """
import sys
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import LogRows, Row

backend = open_backend(sys.argv[1])
step = 0
while True:
    rows = [Row(step + i, float(step + i), {"x": 1.0}) for i in range(50)]
    backend.apply([LogRows("a", rows), LogRows("b", rows)])
    step += 50
    print(step, flush=True)
"""


class TestCrash:
    def test_killed_while_writing(self, tmp_path: Path) -> None:
        path = str(tmp_path / "sweeps.db")
        with open_backend(path) as backend:
            runs = [PutRun(Run(id=run_id, sweep_id="s")) for run_id in "ab"]
            backend.apply([PutSweep(Sweep(id="s")), *runs])
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, path], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            said = 0
            while said < 500:
                said = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            said = int(([str(said), *process.stdout.read().split("\n")[:-1]])[-1])
        with open_backend(path) as backend:
            first, second = backend.runs("s")
            assert first.rows == second.rows
            assert first.rows >= said, "what was reported as written is there"
            assert first.rows % 50 == 0, "nothing is there by half"
            assert [row.step for row in backend.history("a")] == list(range(first.rows))
            assert backend.history("a") == backend.history("b")
            backend.apply([LogRows("a", [Row(10**6, 1e9, {"x": 2.0})])])
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def test_locked_for_too_long(self, tmp_path: Path) -> None:
        path = str(tmp_path / "sweeps.db")
        with LocalBackend.open(path, busy_timeout=0.05) as backend:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(BackendError, match="locked; another process writes"):
                    backend.create_sweep({})
                assert backend.sweeps() == [], "readers do not wait for the writer"
            backend.create_sweep({})


class TestWritten:
    def test_only_what_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "sweeps.db"
        with open_backend(str(path)) as backend:
            run = Run(id="r", sweep_id="s", config={"x": 1}, meta={"host": "h"})
            backend.apply([PutSweep(Sweep(id="s")), PutRun(run)])
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.execute(
                    "CREATE TRIGGER watch BEFORE UPDATE OF config, meta, state, name ON runs "
                    "BEGIN SELECT RAISE(ABORT, 'written'); END"
                )
                connection.commit()
            backend.apply([LogRows("r", [Row(0, 1.0, {"loss": 1.0})])])
            backend.update_run("r", summary={"best": 1}, name="")
            assert backend.run("r").summary == {"loss": 1.0, "best": 1}
            with pytest.raises(InputError, match="written"):
                backend.update_run("r", config={"x": 2})

    def test_flag_of_another_type(self, tmp_path: Path) -> None:
        run = Run(id="r", sweep_id="s", stopped_early="yes")  # type: ignore[arg-type]
        with open_backend(str(tmp_path / "sweeps.db")) as backend:
            with pytest.raises(InputError, match="stopped_early"):
                backend.apply([PutSweep(Sweep(id="s")), PutRun(run)])
            assert backend.sweeps() == []
