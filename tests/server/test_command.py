"""``tune-bridge dashboard`` as a program."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("dash")

pytestmark = pytest.mark.slow


# A shell that starts a program in the background makes it ignore Ctrl-C; this undoes that.
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from tune_bridge.cli.main import main; main()"
)


def start(tmp_path: Path, *arguments: str, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            PROGRAM,
            "dashboard",
            "--backend",
            str(tmp_path / "sweeps.db"),
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TUNE_BRIDGE_KEY": "", **variables},
    )


@contextlib.contextmanager
def running(tmp_path: Path, *arguments: str, **variables: str) -> Iterator:
    process = start(tmp_path, *arguments, **variables)
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+/", line)
        assert found, line + process.stderr.read()
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serves_and_stops(tmp_path, how):
    with running(tmp_path) as (process, address):
        with urllib.request.urlopen(f"{address}api/sweeps") as answer:
            assert answer.status == 200
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in err
        assert "stopped" in out


def test_a_taken_port_is_an_error_when_it_was_asked_for(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(tmp_path, "--port", str(port))
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "another program listens on this port" in err
    assert str(port) in err
    assert "Traceback" not in err


def test_two_dashboards_without_a_port(tmp_path):
    with running(tmp_path) as (_, one), running(tmp_path) as (_, other):
        assert one != other


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_need_a_key(tmp_path, host):
    process = start(tmp_path, "--host", host, "--port", "0")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "TUNE_BRIDGE_KEY" in err


def test_the_key_comes_from_the_environment(tmp_path):
    with running(tmp_path, "--port", "0", TUNE_BRIDGE_KEY="secret") as (process, address):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{address}api/sweeps")
        request = urllib.request.Request(
            f"{address}api/sweeps", headers={"Authorization": "Bearer secret"}
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200
        process.terminate()
        out, err = process.communicate(timeout=60)
        assert "secret" not in out + err


def test_an_address_of_nobody(tmp_path):
    process = start(tmp_path, "--host", "192.0.2.1", "--key", "k")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "no such address" in err
