"""A real server on the loopback interface, and real wandb clients, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tune_bridge.backends.local import LocalBackend
from tune_bridge.controller import Controller
from tune_bridge.server import create_app

KEY = "local-" + "0123456789" * 4
_TIMEOUT = 240


class Place:
    """A server and where its clients live."""

    def __init__(self, folder: Path, key: str | None = None) -> None:
        from tune_bridge.server.control import Control
        from tune_bridge.server.store import Store

        self.folder = folder
        self.backend = LocalBackend.open(str(folder / "sweeps.db"))
        self.controller = Controller(self.backend, folder / "snapshots")
        self.control = Control(self.controller, Store(folder / "store"))
        self.app = create_app(self.backend, control=self.control, key=key)
        self.url = ""

    @contextlib.contextmanager
    def serving(self) -> Iterator[Place]:
        import uvicorn

        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            config = uvicorn.Config(
                self.app, lifespan="off", ws="none", log_level="warning", access_log=False
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                yield self
            finally:
                server.should_exit = True
                thread.join(30)
                self.backend.close()

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a client: nothing of this machine's user, and the two variables."""
        env = {name: text for name, text in os.environ.items() if not name.startswith("WANDB_")}
        env.update(
            HOME=str(self.folder / "home"),
            WANDB_DIR=str(self.folder),
            WANDB_CONFIG_DIR=str(self.folder / "config"),
            WANDB_CACHE_DIR=str(self.folder / "cache"),
            WANDB_DATA_DIR=str(self.folder / "data"),
            WANDB_BASE_URL=self.url,
            WANDB_API_KEY=KEY,
            WANDB_SILENT="true",
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}",
        )
        Path(env["HOME"]).mkdir(exist_ok=True)
        return {**env, **more}

    def start(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env(**(env or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, *command: str, fails: bool = False, **env: str) -> str:
        """What a program says; it has to succeed, or to fail."""
        process = self.start(*command, env=env)
        said, _ = process.communicate(timeout=_TIMEOUT)
        assert (process.returncode != 0) == fails, said
        return said

    def python(self, code: str, **env: str) -> Any:
        """Runs a program; what `answer(...)` was given in it."""
        path = self.folder / f"program-{len(list(self.folder.glob('program-*')))}.py"
        head = (
            "import json, wandb\n"
            "def answer(value): print('ANSWER', json.dumps(value, default=dict))\n"
        )
        path.write_text(head + textwrap.dedent(code))
        said = self.call(sys.executable, str(path), **env)
        found = [line for line in said.splitlines() if line.startswith("ANSWER ")]
        return json.loads(found[-1].removeprefix("ANSWER ")) if found else said

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(textwrap.dedent(text))
        return name


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Place(tmp_path_factory.mktemp("wandb")).serving() as made:
        yield made
