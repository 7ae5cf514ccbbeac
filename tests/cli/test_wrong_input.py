"""Every command and every option with what is wrong: one line that says so, and an exit code."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

pytest.importorskip("fastapi")

from tune_bridge.cli.main import COMMANDS, cli, main
from tune_bridge.cli.options import NOTATION, TEXT, Number

HEAD = "program: t.py\nmethod: random\nparameters:\n  x: {min: 0.0, max: 1.0}\n"
CONTEXT = click.Context(cli)
ALL = {name: cli.get_command(CONTEXT, name) for name in COMMANDS}

OF_FILES = {
    "convert": ("{}",),
    "explain": ("{}",),
    "lint": ("{}",),
    "sample": ("{}",),
    "diff": ("ok.yaml", "{}"),
    "verify": ("{}", "ok.yaml"),
    "run": ("{}",),
    "sweep": ("{}",),
}
OF_SWEEPS = {
    **dict.fromkeys(("agent", "status", "best", "events", "stop", "pause", "resume"), ()),
    **dict.fromkeys(("cancel", "retry", "release", "run-cap", "concurrency", "enqueue"), ()),
    "release": ("host",),
    "policy": ("run",),
    "bundle": (),
    "run-cap": ("3",),
    "concurrency": ("3",),
    "enqueue": ("--set", "x=1"),
}
JSON = [name for name, command in ALL.items() if "--json" in str([p.opts for p in command.params])]


def _write(content: str | bytes) -> Callable[[Path], object]:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda path: path.write_bytes(data)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.yaml": (lambda path: None, "no such file"),
    "missing.py": (lambda path: None, "no such file"),
    "missing": (lambda path: None, "no such file"),
    "ok.yaml/under.yaml": (lambda path: None, "no such file"),
    "folder": (Path.mkdir, "it is a folder"),
    "folder.yaml": (Path.mkdir, "it is a folder"),
    "folder.py": (Path.mkdir, "it is a folder"),
    "text.txt": (_write("hello"), "cannot tell what this file is"),
    "empty.yaml": (_write(""), "found nothing"),
    "binary.yaml": (_write(bytes(range(256)) * 4), "not YAML"),
    "list.yaml": (_write("- 1\n"), "list.yaml:1:1: not a sweep; found a list"),
    "number.yaml": (_write("3\n"), "number.yaml:1:1: not a sweep; found 3"),
    "broken.yaml": (_write("a: [\n"), "broken.yaml:2:1: not YAML"),
    "no-metric.yaml": (_write(HEAD.replace("random", "bayes")), "needs a metric"),
    "no-parameters.yaml": (_write("program: t.py\nmethod: random\n"), "without parameters"),
    "ok.yaml:second": (lambda path: None, "no experiment called 'second'"),
    "a" * 300 + ".yaml": (lambda path: None, "File name too long"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to work in, with a sweep in it, and no server to find."""
    monkeypatch.chdir(tmp_path)
    for name in ("TUNE_BRIDGE_SERVER", "TUNE_BRIDGE_BACKEND", "TUNE_BRIDGE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNE_BRIDGE_HOME", str(tmp_path / "home"))
    Path("ok.yaml").write_text(HEAD)
    return tmp_path


@pytest.fixture
def say(capfd):
    """Runs a command; its exit code, output and errors. An exception is a failure."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return (int(ended.value.code or 0), *capfd.readouterr())

    return run


def test_every_command_is_here():
    """Those with files and those with sweeps; the options of all commands are looked at below."""
    takes = {name: {param.name for param in command.params} for name, command in ALL.items()}
    assert {name for name, given in takes.items() if given & {"src", "a"}} == set(OF_FILES)
    named = {name for name, command in ALL.items() if _argument(command) == "sweep"}
    assert set(OF_SWEEPS) <= named


def _argument(command: click.Command) -> str | None:
    found = (param.name for param in command.params if isinstance(param, click.Argument))
    return next(found, None)


@pytest.mark.parametrize("file", FILES, ids=lambda name: name[:20])
@pytest.mark.parametrize("command", OF_FILES)
def test_files(say, tmp_path, command, file):
    make, words = FILES[file]
    make(tmp_path / file)
    before = sorted(tmp_path.rglob("*"))
    arguments = [part.format(file) for part in OF_FILES[command]]
    code, out, err = say(command, *arguments)
    assert code == 1
    assert words in (out + err)
    if command == "lint" and "no such file" not in words:
        assert (out.count("\n"), err) == (1, "")
    else:
        assert (out, err.count("\n"), err[:7]) == ("", 1, "error: ")
    if command in JSON:
        code, out, err = say(command, *arguments, "--json")
        assert code == 1
        told = json.loads(out)
        assert told[0]["rule"] == "invalid" if isinstance(told, list) else told["error"]["message"]
    assert sorted(tmp_path.rglob("*")) == before


TAKES_ANYTHING = ("--key", "--set")
"""Texts that may be empty, or have a form that the command itself looks at."""
NUMBERS = ("-2", "nan", "inf", "x", "", "1e400", "9" * 30)


def _options() -> list[tuple[str, str, object, str]]:
    """Command, option, its type and a wrong value; options without any fail the test below."""
    found: list[tuple[str, str, object, str]] = []
    for name, command in ALL.items():
        for option in command.params:
            if isinstance(option, click.Option) and not option.is_flag:
                if option.flag_value is not None and option.nargs == 0:
                    continue
                spelled = option.opts[-1]
                if isinstance(option.type, Number):
                    values: tuple[str, ...] = NUMBERS
                elif option.type is TEXT or option.name == "dst":
                    values = ("", "  ")
                else:
                    values = ("nosuch", "")
                found += [(name, spelled, option.type, value) for value in values]
    return found


OPTIONS = [row for row in _options() if row[1] not in TAKES_ANYTHING]


def test_every_option_refuses_something():
    loose = {spelled for _, spelled, kind, _ in OPTIONS if kind in (click.STRING, click.INT)}
    assert not loose
    assert all(
        isinstance(kind, Number | click.Choice) or kind in (TEXT, NOTATION)
        for _, _, kind, _ in OPTIONS
    )


@pytest.mark.parametrize(("command", "option", "kind", "value"), OPTIONS)
def test_options(say, command, option, kind, value):
    arguments = [part.format("ok.yaml") for part in OF_FILES.get(command, ())]
    arguments += ["nosuch00", *OF_SWEEPS[command]] if command in OF_SWEEPS else []
    code, out, err = say(command, *arguments, option, value)
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("Error: Invalid value for ")
    assert option in last
    assert f"tune-bridge {command}" in err or "Usage: " in err


@pytest.mark.parametrize("command", COMMANDS)
def test_usage(say, command):
    code, out, err = say(command, "--nosuch")
    assert (code, out) == (2, "")
    assert "No such option" in err
    needed = any(getattr(p, "required", False) for p in ALL[command].params)
    if needed:
        code, out, err = say(command)
        assert (code, out) == (2, "")
        assert "Missing argument" in err
    if command in JSON:
        code, out, _ = say(command, "--json", "--nosuch")
        assert code == 2
        assert "No such option" in json.loads(out)["error"]["message"]


def test_a_command_that_there_is_not(say):
    code, _, err = say("convrt")
    assert code == 2
    assert "convert" in err
    assert say()[0] == 2


SERVERS = {
    "http://127.0.0.1:9": "does not answer",
    "nonsense": "no address of a server",
    "http://": "no address of a server",
    "ftp://x": "no address of a server",
    "http://[::1": "no address of a server",
    "http://127.0.0.1:99999": "no address of a server",
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("command", ["ls", "sweep", *OF_SWEEPS])
def test_servers(say, command, server):
    sweep = ("ok.yaml",) if command == "sweep" else ()
    sweep = ("nosuch00", *OF_SWEEPS[command]) if command in OF_SWEEPS else sweep
    code, out, err = say(command, *sweep, "--server", server)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: ")
    assert SERVERS[server] in err


PLACES = {
    "folder": "is a folder",
    "nosuch://x": "no kind of database",
    "text.db": "file is not a database",
    "/dev/null/x.db": "cannot be made",
    "sqlite://": "names no file",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", ["ls", "best", "events", "dashboard"])
def test_places(say, command, place):
    Path("folder").mkdir()
    Path("text.db").write_text("no database, for certain\n" * 100)
    sweep = ("nosuch00",) if command in OF_SWEEPS else ()
    code, out, err = say(command, *sweep, "--backend", place)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert PLACES[place] in err


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", "nan", "9" * 30])
@pytest.mark.parametrize("command", ["run-cap", "concurrency"])
def test_limits(say, command, limit):
    code, _, err = say(command, "nosuch00", "--", limit)
    assert code == 2
    assert "nor 'none'" in err


@pytest.mark.parametrize("pair", ["x", "=1", ""])
def test_pairs(say, pair):
    assert say("enqueue", "nosuch00", "--server", "http://127.0.0.1:9", "--set", pair)[0] in (1, 2)
    assert say("enqueue", "nosuch00")[0] == 2
    assert say("enqueue", "nosuch00", "--set", "x=1", "--file", "ok.yaml")[0] == 2


@pytest.mark.parametrize("content", ["", "[", "[]", "3", '["a"]', '"text"', "\0", "[" * 100_000])
def test_points(say, content):
    Path("points.json").write_text(content)
    code, out, err = say("enqueue", "nosuch00", "--file", "points.json", "--server", "http://x:1")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: points.json: ")


OUTPUTS = {
    "folder": "Is a directory",
    "folder/": "Is a directory",
    ".": "Is a directory",
    "nosuch/x.py": "No such file",
    "ok.yaml/x.py": "Not a directory",
    "a" * 300 + ".py": "File name too long",
}


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda name: name[:20])
def test_outputs(say, tmp_path, output):
    Path("folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    code, out, err = say("convert", "ok.yaml", "--to", "tune", "-o", output, "--json")
    assert (code, err.count("\n")) == (1, 1)
    assert OUTPUTS[output] in err
    assert json.loads(out)["error"]["source"] == os.path.normpath(output)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pipe_is_written_to_and_not_replaced(say):
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert say("convert", "ok.yaml", "-o", "pipe")[0] == 0
        assert b"tune.run" in os.read(reader, 65536)
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(say, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    code, _, err = say("convert", "ok.yaml", "-o", str(folder / "x.py"))
    assert (code, err.count("\n")) == (1, 1)
    assert "Permission denied" in err


# What needs a process of its own: pipes, streams that are closed, signals.

START = f'exec "{sys.executable}" -c "from tune_bridge.cli.main import main; main()"'


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """What a shell runs; "{}" is tune-bridge. The exit code is that of the first process."""
    command = line.replace("{}", f"({START}").replace("%", ")")
    return subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


STREAMS = {
    "{} sample ok.yaml -n 100000 % | head -1": 0,
    "{} explain ok.yaml % | true": 0,
    "{} --help % | true": 0,
    "{} convert ok.yaml <&- >&- %": 0,
    "{} explain ok.yaml >&- 2>&- %": 0,
    "{} convert ok.yaml -o /dev/stdout % | cat": 0,
    "{} convert missing.yaml --json >&- %": 1,
    "{} convert missing.yaml --json >/dev/full 2>/dev/full %": 1,
    "{} convert ok.yaml >/dev/full %": 1,
    "{} explain ok.yaml --json >/dev/full %": 1,
}


@pytest.mark.slow
@pytest.mark.parametrize("line", STREAMS)
def test_streams(line):
    done = shell(line)
    assert done.returncode == STREAMS[line], done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["convert", "verify"])
def test_ctrl_c(tmp_path, command):
    """A key is pressed while a Python file is executed: its process ends with the command."""
    Path("slow.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path('begun.new').write_text(str(os.getpid()))\n"
        "os.replace('begun.new', 'begun')\n"
        "time.sleep(600)\n"
    )
    arguments = ["slow.py", "ok.yaml"] if command == "verify" else ["slow.py", "-o", "out.yaml"]
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from tune_bridge.cli.main import main; main()",
            command,
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    begun = tmp_path / "begun"
    while not begun.exists():
        assert process.poll() is None
        signal.sigtimedwait([], 0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err.split()) == (130, "", ["interrupted"])
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)
    assert not Path("out.yaml").exists()
