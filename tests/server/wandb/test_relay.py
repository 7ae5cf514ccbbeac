"""Programs that know wandb only, in a trial: their rows are results, all else is the server's."""

from __future__ import annotations

import http.client
import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tune_bridge.backends.base import PutRun, Run
from tune_bridge.reports import PAYLOAD
from tune_bridge.trial import Program, ProgramError, ProgramSettings
from tune_bridge.wandb_relay import Relay, Upstream

Launch = Callable[..., Program]


@pytest.fixture(scope="module")
def sweep(place: Any) -> str:
    config = {"method": "random", "parameters": {"x": {"value": 0.5}}}
    return str(place.backend.create_sweep(config, project="relayed").id)


@pytest.fixture
def launch(
    place: Any, sweep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Launch]:
    programs: list[Program] = []
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))

    def start(source: str, run: str, *, first: int = 0, **settings: Any) -> Program:
        (tmp_path / "program.py").write_text(textwrap.dedent(source))
        values = {"program": "program.py", "cwd": str(tmp_path), "metric": "loss", **settings}
        made = Run(id=run, sweep_id=sweep, config={"x": 0.5}, meta={"trial_id": run})
        place.backend.apply([PutRun(made)])
        folder = tmp_path / run
        folder.mkdir(exist_ok=True)
        program = Program(
            ProgramSettings(sweep_id=sweep, project="relayed", **values),
            {"x": 0.5},
            folder,
            {"id": run},
            upstream=lambda: Upstream(place.url, None),
        )
        programs.append(program)
        program.start()
        return program

    yield start
    for program in programs:
        program.stop(kill=True)


def results(program: Program) -> list[dict[str, Any]]:
    found = []
    while True:
        found.append(program.next(120))
        if "done" in found[-1] or "__duplicate__" in found[-1]:
            return found


@pytest.mark.slow
def test_rows_are_results_and_files_are_kept(launch: Launch, place: Any) -> None:
    program = launch(
        """
        import wandb
        run = wandb.init()
        assert dict(run.config) == {"x": 0.5}
        run.config.update({"late": 1})
        for step in range(3):
            run.log({"loss": run.config.x + step, "net": {"depth": step}, "odd": float("nan")})
            run.log({"other": step})
        run.summary["best"] = 7
        with open("kept.txt", "w") as file:
            file.write("kept")
        run.save("kept.txt")
        """,
        "one",
    )
    found = results(program)
    rows = [row for result in found for row in result[PAYLOAD].get("rows", ())]
    assert [result["loss"] for result in found[:3]] == [0.5, 1.5, 2.5]
    assert found[0]["net/depth"] == 0
    assert [row[0] for row in rows] == list(range(6))
    assert program.by_wandb
    assert program.exit_code == 0
    run = place.backend.run("one")
    assert (run.rows, run.state) == (0, "running"), "its rows and its end are the trial's to say"
    assert run.summary["best"] == 7
    assert run.config == {"x": 0.5, "late": 1}
    kept = place.python(
        "found = wandb.Api().run('local/relayed/one').file('kept.txt').download(replace=True)\n"
        "answer(found.read())"
    )
    assert kept == "kept"


@pytest.mark.slow
def test_a_program_is_stopped_with_grace_and_says_its_last_word(launch: Launch, place: Any) -> None:
    program = launch(
        """
        import signal, time, wandb
        def end(*_):
            raise SystemExit(0)
        signal.signal(signal.SIGTERM, end)
        with wandb.init() as run:
            run.log({"loss": 1.0})
            try:
                time.sleep(600)
            finally:
                run.summary["last"] = "word"
        """,
        "two",
        grace=60.0,
    )
    assert program.next(120)["loss"] == 1.0
    program.stop()
    assert (program.ended, program.exit_code) == (True, 0), program.output.read_text()
    assert place.backend.run("two").summary["last"] == "word"


@pytest.mark.slow
def test_what_is_no_report_and_what_is_one_in_the_summary(launch: Launch) -> None:
    program = launch("import wandb\nwandb.init().summary['loss'] = 0.25\n", "three")
    found = results(program)
    assert found[0]["loss"] == 0.25
    program = launch("import wandb\nwandb.init().log({'acc': 1})\n", "four")
    with pytest.raises(ProgramError, match="never reported the metric 'loss'; it reported") as said:
        results(program)
    assert "tune_bridge.init" not in said.value.message


# The relay itself.


class Ears:
    """What a relay hears."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, float, dict[str, Any]]] = []
        self.last: dict[str, Any] = {}
        self.stop = False

    def hear(self, rows: list[tuple[int, float, dict[str, Any]]]) -> bool:
        self.rows += rows
        return self.stop


def chunk(offset: int, *lines: str) -> bytes:
    text = ", ".join('"' + line.replace('"', '\\"') + '"' for line in lines)
    history = f'"wandb-history.jsonl": {{"offset": {offset}, "content": [{text}]}}'
    return f'{{"files": {{{history}}}, "complete": true, "exitcode": 0}}'.encode()


@pytest.fixture
def ears(place: Any) -> Iterator[tuple[Relay, Ears]]:
    made = Ears()
    relay = Relay(lambda: Upstream(place.url, None), made.hear, lambda last: None)
    yield relay, made
    relay.close()


def test_a_request_that_comes_twice_counts_once(ears: tuple[Relay, Ears]) -> None:
    relay, heard = ears
    first = chunk(4, '{"_step": 0, "_timestamp": 5.0, "loss": 1}', '{"_step": 7, "loss": NaN}')
    for _ in range(2):
        rest, stop = relay.stream(first)
        assert (rest, stop) == (b'{"files": {}}', False)
    heard.stop = True
    _, stop = relay.stream(chunk(5, '{"_step": 7, "loss": 2}', '{"_step": 3, "loss": 3}'))
    assert stop
    assert [(step, when) for step, when, _ in heard.rows] == [(0, 5.0), (7, 0.0), (8, 0.0)]
    assert heard.rows[-1][2] == {"loss": 3}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"{}", 401),
        ({"Authorization": "Basic YXBpOndyb25n"}, b"{}", 401),
        ({"Transfer-Encoding": "chunked", "Content-Length": ""}, b"", 411),
        ({"Content-Length": str(2**40)}, b"", 413),
    ],
)
def test_who_has_no_key_is_refused(
    ears: tuple[Relay, Ears], headers: dict[str, str], body: bytes, status: int
) -> None:
    relay, heard = ears
    connection = http.client.HTTPConnection(relay.url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/files/a/b/c/file_stream")
    for name, text in {"Content-Length": str(len(body)), **headers}.items():
        if text:
            connection.putheader(name, text)
    connection.endheaders(body or None)
    assert connection.getresponse().status == status
    connection.close()
    assert not heard.rows


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"files": {"wandb-history.jsonl": 3}}'])
def test_malformed_streams(ears: tuple[Relay, Ears], body: bytes) -> None:
    relay, _ = ears
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        relay.stream(body)
