"""Arguments of the Python files that commands execute: what comes after ``--``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from tests.cli.test_wrong_input import HEAD, OF_FILES
from tune_bridge.cli.main import main
from tune_bridge.cli.source import load_source

SCRIPT = """
import argparse
from tune_bridge import tune
parser = argparse.ArgumentParser()
parser.add_argument("--most", type=float, required=True)
parser.add_argument("--json", action="store_true")
parser.add_argument("words", nargs="*")
given = parser.parse_args()
tune.run("t.py", config={"x": tune.uniform(0, given.most), "words": list(given.words)},
         num_samples=7, name="json" if given.json else "text")
"""


@pytest.fixture
def say(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("e.py").write_text(SCRIPT)
    Path("ok.yaml").write_text(HEAD)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        return (int(ended.value.code or 0), *capfd.readouterr())

    return run


def test_convert(say):
    code, out, err = say("convert", "e.py", "-q", "--", "--most", "3", "--json", "a b", "--", "-c")
    assert (code, err) == (0, "")
    for line in ("name: json", "max: 3", "- a b", "- -c"):
        assert line in out
    # --json was the file's: the result is YAML.
    assert out.startswith("program: t.py")
    code, out, _ = say("convert", "e.py", "--json", "--", "--most", "3")
    assert json.loads(out)["text"].splitlines()[0] == "program: t.py"


@pytest.mark.parametrize("command", ["explain", "lint", "sample", "verify", "diff"])
def test_the_other_commands(say, command):
    files = ["e.py", "e.py"] if command in ("verify", "diff") else ["e.py"]
    code, out, err = say(command, *files, "--", "--most", "3")
    assert (code, err) == (0, "")
    if command == "sample":
        draws = [json.loads(line)["x"] for line in out.splitlines()]
        assert max(draws) > 1
    # Without them the file's own parser says what it misses, then we do.
    code, out, err = say(command, *files)
    assert code == 1
    assert "sys.exit(2)" in out + err
    assert "go after --" in out + err


@pytest.mark.parametrize("command", OF_FILES)
def test_a_sweep_file_takes_none(say, command):
    files = [part.format("ok.yaml") for part in OF_FILES[command]]
    code, out, err = say(command, *files, "--", "--most", "3")
    assert (code, out) == (2, "")
    assert "Python file" in err


@pytest.mark.parametrize("command", OF_FILES)
def test_usage_names_them(say, command):
    assert "[-- ARGUMENTS]" in say(command, "--help")[1].splitlines()[0]


def test_the_file_reads_them_as_python_would_give_them(tmp_path):
    (tmp_path / "e.py").write_text(
        "import sys\nfrom tune_bridge import tune\n"
        "tune.run('t.py', config={'x': tune.uniform(0, 1), 'argv': sys.argv})\n"
    )
    config = load_source(tmp_path / "e.py", arguments=["", "a b", "-c"])
    assert config["parameters"]["argv"]["value"] == [str(tmp_path / "e.py"), "", "a b", "-c"]
