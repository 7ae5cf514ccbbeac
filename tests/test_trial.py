"""Programs under a guard: reporting, failing, stopping - without Ray."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tune_bridge.errors import InputError
from tune_bridge.reports import PAYLOAD, Reports
from tune_bridge.trial import Program, ProgramError, ProgramSettings, resolve_program

START = "import tune_bridge\nrun = tune_bridge.init()\n"


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come about"
        time.sleep(0.01)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def start(source: str, config: dict[str, Any] | None = None, **settings: Any) -> Program:
        (tmp_path / "program.py").write_text(textwrap.dedent(source))
        values: dict[str, Any] = {
            "program": "program.py",
            "cwd": str(tmp_path),
            "metric": "loss",
            "grace": 10.0,
            **settings,
        }
        program = Program(ProgramSettings(**values), config or {}, tmp_path / "trial", {"id": "r1"})
        (tmp_path / "trial").mkdir(exist_ok=True)
        programs.append(program)
        program.start()
        return program

    yield start
    for program in programs:
        program.stop(kill=True)


def results(program: Program) -> list[dict[str, Any]]:
    found = []
    while True:
        result = program.next(60)
        found.append(result)
        if result.get("done") or "__duplicate__" in result:
            return found


def rows(found: list[dict[str, Any]]) -> list[list[Any]]:
    return [row for result in found for row in result[PAYLOAD].get("rows", [])]


def test_results_and_rows(launch: Callable[..., Program]) -> None:
    program = launch(
        START + "for i in range(3):\n    run.log({'batch': i})\n    run.log({'loss': i / 2})\n"
    )
    found = results(program)
    assert [result.get("loss") for result in found] == [0.0, 0.5, 1.0, None]
    assert [(row[0], row[2]) for row in rows(found)] == [
        (0, {"batch": 0}),
        (1, {"loss": 0.0}),
        (2, {"batch": 1}),
        (3, {"loss": 0.5}),
        (4, {"batch": 2}),
        (5, {"loss": 1.0}),
    ]
    assert program.exit_code == 0


def test_config_is_typed_and_arguments_are_given(launch: Callable[..., Program]) -> None:
    program = launch(
        START
        + "import sys\n"
        + "c = run.config\n"
        + "run.log({'loss': c.net.depth, 'kinds': [type(v).__name__ for v in c.values()],"
        + " 'argv': sys.argv[1:], 'id': run.id})\n",
        {"lr": 0.1, "flag": True, "none": None, "pair": (1, 2), "net": {"depth": 3}},
    )
    first = results(program)[0]
    assert first["loss"] == 3
    assert first["kinds"] == ["float", "bool", "NoneType", "tuple", "Config"]
    assert first["argv"][:2] == ["--lr=0.1", "--flag=True"]
    assert first["id"] == "r1"


def test_last_row_before_a_hard_exit(launch: Callable[..., Program]) -> None:
    program = launch(START + "import os\nrun.log({'loss': 1.0})\nrun.log({'x': 2})\nos._exit(0)\n")
    found = results(program)
    assert [row[2] for row in rows(found)] == [{"loss": 1.0}, {"x": 2}]
    assert found[-1]["done"] is True
    assert found[-1]["loss"] == 1.0


def test_failure_names_code_and_last_lines(launch: Callable[..., Program]) -> None:
    program = launch(START + "run.log({'x': 1})\nprint('hello')\nraise ValueError('broken')\n")
    with pytest.raises(ProgramError, match="exit code 1") as caught:
        results(program)
    error = pickle.loads(pickle.dumps(caught.value))
    assert "ValueError: broken" in str(error)
    assert "hello" in str(error)
    assert str(error).splitlines()[0] == (
        "the program failed with exit code 1: ValueError: broken; its last lines:"
    )
    assert str(program.output) in str(error)
    assert str(program.output) not in error.reason
    assert error.reason in str(error)
    assert (error.outcome, error.exit_code) == ("failed", 1)
    assert [row[2] for row in error.payload["rows"]] == [{"x": 1}]


def test_a_message_holds_nothing_that_a_terminal_obeys(launch: Callable[..., Program]) -> None:
    program = launch(
        "print('\\a\\x1b[31mred\\x1b[0m\\x1b]0;title\\a \\x00end')\nraise SystemExit(2)\n"
    )
    with pytest.raises(ProgramError) as caught:
        results(program)
    assert "exit code 2: \ufffdred \ufffdend\n" in str(caught.value)
    assert str(caught.value).replace("\n", "").isprintable()


def test_death_by_signal(launch: Callable[..., Program]) -> None:
    program = launch("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(ProgramError, match=r"SIGKILL.*memory"):
        results(program)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("run.log({'loss': 1.0})\nrun.log({'loss': float('nan')})", "last value.*'loss' is nan"),
        ("run.log({'loss': float('-inf')})", "is -inf"),
        ("run.log({'loss': 'low'})", "is 'low'"),
        ("run.log({'loss': True})", "is True"),
        ("run.log({'other': 1.0})", "never reported the metric 'loss'; it reported other"),
        ("", "ended without a report"),
    ],
)
def test_no_usable_metric(launch: Callable[..., Program], body: str, message: str) -> None:
    program = launch(START + body + "\n")
    with pytest.raises(ProgramError, match=message) as caught:
        results(program)
    assert caught.value.outcome == "finished"


def test_a_passing_nan_is_kept_in_the_rows(launch: Callable[..., Program]) -> None:
    program = launch(START + "run.log({'loss': float('nan')})\nrun.log({'loss': 0.5})\n")
    found = results(program)
    assert [result.get("loss") for result in found] == [0.5, None]
    assert str(rows(found)[0][2]["loss"]) == "nan"


def test_a_program_without_init_is_told_how(launch: Callable[..., Program]) -> None:
    with pytest.raises(ProgramError, match=r"tune_bridge\.init"):
        results(launch("print('loss: 1')\n"))


def test_garbage_on_the_output(launch: Callable[..., Program]) -> None:
    program = launch(
        START
        + "import os\nos.write(1, bytes(range(256)) * 40 + b'\\n')\n"
        + "run.log({'loss': 1})\nos.write(2, b'\\xff\\xfe' * 9)\nraise SystemExit(3)\n"
    )
    with pytest.raises(ProgramError, match="exit code 3"):
        results(program)
    assert program.output.stat().st_size >= 256 * 40


def test_output_is_capped(launch: Callable[..., Program]) -> None:
    source = "for i in range(20000): print('line', i)\nraise SystemExit(4)\n"
    program = launch(source, output_cap=1000)
    with pytest.raises(ProgramError, match="line 19999"):
        results(program)
    text = program.output.read_text()
    assert len(text) < 3000
    assert "output cut here" in text
    assert text.endswith("line 19999\n")


def test_missing_interpreter(launch: Callable[..., Program]) -> None:
    with pytest.raises(ProgramError, match="'no-such-program' could not be started"):
        launch("", command=("no-such-program", "${program}"))


def test_summary_with_the_metric_is_a_result(launch: Callable[..., Program]) -> None:
    found = results(launch(START + "run.summary['loss'] = 0.25\n"))
    assert found[0]["loss"] == 0.25
    assert found[0][PAYLOAD]["summary"] == {"loss": 0.25}


FAMILY = """
import os, signal, subprocess, sys, time
child = '''
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) > 1:
    os.setsid()
print("ready", flush=True)
time.sleep(600)
'''
signal.signal(signal.SIGTERM, signal.SIG_IGN)
children = [
    subprocess.Popen([sys.executable, "-c", child, *more], stdout=subprocess.PIPE)
    for more in ([], ["own session"])
]
for one in children:
    one.stdout.readline()
"""
REPORT = "run.log({'loss': 1, 'pids': [os.getpid(), *(c.pid for c in children)]})\n"
LIVING = FAMILY + START + REPORT


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.NoSuchProcess:
            pass
    return found


def test_stop_ends_all_that_ignore_sigterm(launch: Callable[..., Program]) -> None:
    program = launch(LIVING + "while True: time.sleep(600)\n", grace=0.3)
    pids = program.next(60)["pids"]
    assert len(alive(pids)) == 3
    program.stop()
    assert program.ended
    assert alive(pids) == []


def test_a_stop_becomes_a_kill_while_it_waits(launch: Callable[..., Program]) -> None:
    program = launch(LIVING + "while True: time.sleep(600)\n", grace=3600)
    pids = program.next(60)["pids"]
    asked = iter([False, True])
    program.stop(hurry=lambda: next(asked, True))
    assert program.ended
    assert alive(pids) == []


def test_leftovers_of_a_program_that_ended_are_ended(launch: Callable[..., Program]) -> None:
    program = launch(LIVING, grace=0.2)
    found = results(program)
    assert alive(found[0]["pids"]) == []
    assert program.exit_code == 0


def test_stop_lets_a_program_clean_up(launch: Callable[..., Program], tmp_path: Path) -> None:
    program = launch(
        START
        + "import signal, time, pathlib\n"
        + "def end(*_):\n    pathlib.Path('cleaned').touch()\n    raise SystemExit(0)\n"
        + "signal.signal(signal.SIGTERM, end)\nrun.log({'loss': 1})\n"
        + "run.log({'loss': run.stopping})\nwhile True: time.sleep(600)\n"
    )
    program.next(60)
    program.stop()
    assert (tmp_path / "cleaned").exists()


def test_waiting_program_learns_of_its_end(launch: Callable[..., Program], tmp_path: Path) -> None:
    program = launch(
        START
        + "import signal, pathlib\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        + "run.log({'loss': 1})\npathlib.Path('stopping').write_text(str(run.stopping))\n"
    )
    program.next(60)
    program.stop()
    assert (tmp_path / "stopping").read_text() == "True"


def test_nothing_before_the_first_report(launch: Callable[..., Program]) -> None:
    program = launch("import time\ntime.sleep(600)\n", grace=0.2)
    with pytest.raises(queue.Empty):
        program.next(0.05)
    program.stop()
    program.stop()


def test_no_orphans_when_the_trial_is_killed(tmp_path: Path) -> None:
    """The process that drives the program dies by SIGKILL: the guard ends the program."""
    (tmp_path / "program.py").write_text(LIVING + "while True: time.sleep(600)\n")
    driver = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from tune_bridge.trial import Program, ProgramSettings
        folder = Path(sys.argv[1])
        settings = ProgramSettings(program="program.py", cwd=str(folder), metric="loss", grace=0.3)
        program = Program(settings, {}, folder)
        program.start()
        print(*program.next(60)["pids"], flush=True)
        sys.stdin.read()
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", driver, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(alive(pids)) == 3
    process.kill()
    process.communicate()
    until(lambda: alive(pids) == [])


def test_program_dies_with_its_guard(launch: Callable[..., Program]) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("needs prctl")
    program = launch(START + "import time\nrun.log({'loss': 1})\nwhile True: time.sleep(600)\n")
    program.next(60)
    assert program.pid is not None
    guard = psutil.Process(program.pid).ppid()
    os.kill(guard, signal.SIGKILL)
    with pytest.raises(ProgramError, match="guard was killed"):
        program.next(60)
    until(lambda: alive([program.pid or 0]) == [])


def test_checkpoint_folder(launch: Callable[..., Program]) -> None:
    program = launch(
        START + "(run.checkpoint_dir / 'state').write_text('3')\nrun.log({'loss': 1})\n"
    )
    results(program)
    assert (program.checkpoint_dir / "state").read_text() == "3"


def test_rows_of_one_step_are_one_row() -> None:
    reports = Reports("loss")
    assert reports.log({"a": 1}, 0, 0.0) is None
    result = reports.log({"loss": 2.0}, 0, 1.0)
    assert result is not None
    assert result[PAYLOAD]["rows"] == [[0, 1.0, {"a": 1, "loss": 2.0}]]
    late = reports.log({"loss": 3.0, "b": {"c": 1}}, 0, 2.0)
    assert late is not None
    assert late[PAYLOAD]["rows"] == [[0, 2.0, {"a": 1, "loss": 3.0, "b/c": 1}]]


def test_backlog_is_thinned() -> None:
    reports = Reports("loss", backlog=10)
    for step in range(100):
        reports.log({"a": step}, step, 0.0)
    assert len(reports.take()["rows"]) + reports.skipped == 100
    assert reports.skipped > 0


def test_names_that_tune_reads_stay_out_of_results() -> None:
    result = Reports("loss").log({"loss": 1.0, "done": True, "config": 3}, 0, 0.0)
    assert result is not None
    assert set(result) == {"loss", PAYLOAD}
    assert result[PAYLOAD]["rows"][0][2]["done"] is True


def test_without_a_metric_every_row_is_a_result() -> None:
    reports = Reports(None)
    assert reports.log({"a": 1}, 0, 0.0) is not None
    assert reports.complaint() == ""


class TestResolve:
    def test_beside_the_sweep_file_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here, there = tmp_path / "here", tmp_path / "there"
        for folder in (here, there):
            folder.mkdir()
        monkeypatch.chdir(here)
        (here / "train.py").touch()
        assert resolve_program("train.py", None, there) == ("train.py", here)
        (there / "train.py").touch()
        assert resolve_program("train.py", None, there) == ("train.py", there)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="program: the program does not exist"):
            resolve_program("train.py", None, tmp_path)
        with pytest.raises(InputError, match="no program"):
            resolve_program(None, None, tmp_path)

    def test_missing_names_each_folder_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError) as caught:
            resolve_program("train.py", None, tmp_path)
        assert caught.value.expected == f"a file in {tmp_path}"

    @pytest.mark.parametrize(
        ("command", "message"),
        [
            (("${interpreter}", "${prgram}"), r"command\[1\]: unknown macro.*'\$\{program\}'"),
            (("${env}",), "command: .*starts nothing"),
            (("${env}", "${program}"), "program: the command names a program"),
        ],
    )
    def test_commands_that_cannot_start(
        self, tmp_path: Path, command: tuple[str, ...], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            resolve_program(None, command, tmp_path)

    def test_what_cannot_be_known(self, tmp_path: Path) -> None:
        assert resolve_program("a.b", ("python", "-m", "${program}"), tmp_path)[0] == "a.b"
        assert resolve_program("sh", ("${program}", "-c", "true"), tmp_path)[0] == "sh"
        assert resolve_program(None, ("python", "x.py"), tmp_path) == (None, tmp_path)
        assert resolve_program("x", ("./run.sh",), tmp_path) == ("x", tmp_path)
