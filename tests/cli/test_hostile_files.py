"""Files that no sweep is in end in one line, in bounded time and memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MEMORY = 1536 * 2**20
"""Bytes of address space that the command may take; Python and its libraries are in it."""
SECONDS = 60
"""Of processor time, for a machine that is slow and busy; the command itself needs one or two."""


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def cli(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from tune_bridge.cli.main import main; main()", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        preexec_fn=_limit,
        timeout=120,
        check=False,
    )


HEAD = "method: random\nparameters:\n  x: {min: 0.0, max: 1.0}\n"
LAUGHS = "a0: &a0 [lol]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "laughs.yaml": (_text(LAUGHS), "more than"),
    "big.yaml": (_text(HEAD + "#" * (50 * 2**20)), "too large for a sweep"),
    "big.py": (_text("x = '" + "x" * (50 * 2**20) + "'"), "builds no experiment"),
    "deep.yaml": (_text("x: " + "[" * 100_000 + "]" * 100_000), "levels deep"),
    "deep-blocks.yaml": (
        _text("".join(f"{' ' * n}a:\n" for n in range(3000))),
        "levels deep",
    ),
    "deep.json": (_text('{"a":' * 50_000 + "1" + "}" * 50_000), "levels deep"),
    "deep.py": (_text("x = " + "[" * 10_000 + "]" * 10_000), "deep.py:1: "),
    "deeper.py": (_text("x = " + "-" * 500_000 + "1"), "deeper.py"),
    "binary.yaml": (_bytes(bytes(range(256)) * 40), "binary.yaml"),
    "binary.py": (_bytes(bytes(range(256)) * 40), "binary.py"),
    "empty.yaml": (_text(""), "not a sweep; found nothing"),
    "blank.yaml": (_text("\n\n# nothing\n"), "not a sweep; found nothing"),
    "empty.py": (_text(""), "builds no experiment"),
    "folder.yaml": (lambda path: path.mkdir(), "it is a folder"),
    "folder.py": (lambda path: path.mkdir(), "it is a folder"),
    "tabs.yaml": (_text("method: random\nparameters:\n\tx: {value: 1}\n"), "a tab where"),
    "twice.yaml": (_text(HEAD + "  x: {value: 1}\n"), "twice.yaml:4:3"),
    "two.yaml": (_text(f"{HEAD}---\n{HEAD}"), "two.yaml:4:1"),
    "list.yaml": (_text("- 1\n"), "not a sweep; found a list"),
    "tag.yaml": (_text("x: !!python/object/apply:os.system [ls]\n"), "tag.yaml:1:4"),
    "latin.yaml": (_bytes("name: Grüße\n".encode("latin-1")), "UTF-8"),
    "utf16.py": (_bytes("x = 1".encode("utf-16")), "utf16.py"),
    "pipe.yaml": (os.mkfifo, "no plain file"),
    "pipe.py": (os.mkfifo, "no plain file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_line_in_bounded_time_and_memory(tmp_path, name):
    make, words = WRONG[name]
    make(tmp_path / name)
    done = cli("convert", name, "--to", "sweep", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr[-2000:]
    assert words in done.stderr
    assert done.stderr.startswith(f"error: {name}")
    assert len(done.stderr) < 1000
    assert json.loads(done.stdout)["error"]["source"] == name


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["s.yaml", "s.py"])
def test_a_file_that_may_not_be_read(tmp_path, name):
    (tmp_path / name).write_text(HEAD)
    (tmp_path / name).chmod(0)
    done = cli("convert", name, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        HEAD.encode("utf-8-sig"),
        HEAD.replace("\n", "\r\n").encode(),
        HEAD.encode("utf-16"),
        b"%YAML 1.2\n---\n" + HEAD.encode() + b"...\n",
    ],
    ids=["BOM", "CRLF", "UTF-16", "directive"],
)
def test_ways_to_write_the_same_file(tmp_path, content):
    (tmp_path / "s.yaml").write_bytes(content)
    done = cli("convert", "s.yaml", "--to", "sweep", "-q", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("method: random\nparameters:\n  x:")


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"# coding: latin-1\nname = '\xfc'\r\n"])
def test_ways_to_write_the_same_program(tmp_path, start):
    text = "from tune_bridge import tune\r\na = tune.run('t.py', config={'x': tune.uniform(0, 1)})"
    (tmp_path / "e.py").write_bytes(start + text.encode())
    done = cli("convert", "e.py", "-q", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
