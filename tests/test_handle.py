"""A sweep at a prompt and in a notebook: from a place, from a server, from an experiment."""

from __future__ import annotations

import html
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("pandas")

import pandas as pd

import tune_bridge
from tests.agents.world import KEY, World
from tests.test_docs import blocks
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import LogRows, PatchRun, PutRun, PutSweep, Row, Run, Sweep
from tune_bridge.errors import BackendError, InputError, NotFoundError

NAME = "<script>alert(1)</script>"
CONFIG = {
    "method": "bayes",
    "metric": {"name": "loss", "goal": "minimize"},
    "run_cap": 20,
    "parameters": {
        "lr": {"min": 0.0, "max": 1.0},
        "net": {"parameters": {"kind": {"values": ["<b>", "mlp"]}}},
    },
}
T0 = 1_700_000_000.0


def _put(place: str, sweep_id: str = "shown", runs: int = 12) -> str:
    """A sweep of `runs` runs: run n has the loss n, but run 0 none and run 1 NaN."""
    operations: list[Any] = [
        PutSweep(Sweep(id=sweep_id, name=NAME, config=CONFIG, created_at=T0, project="p&q"))
    ]
    for n in range(runs):
        run = Run(
            id=f"{sweep_id}{n}",
            sweep_id=sweep_id,
            name=f"{NAME}{n}",
            state="running",
            config={"lr": n / 10, "net": {"kind": "<b>"}},
            created_at=T0 + n,
            started_at=T0 + n + 0.25,
        )
        values = [float(n + 1), math.nan if n == 1 else float(n)] if n else []
        rows = [Row(step, T0 + step, {"loss": loss}) for step, loss in enumerate(values)]
        operations += [PutRun(run), LogRows(run.id, rows)]
        if n > 1:
            operations.append(PatchRun(run.id, {"state": "finished"}, T0 + 100))
    with open_backend(place) as backend:
        backend.apply(operations)
    return sweep_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    _put(made.place)
    yield made
    made.close()


@pytest.fixture(params=["place", "server"])
def sweep(request: pytest.FixtureRequest, world: World) -> Iterator[Any]:
    how = {"place": {"backend": world.place}, "server": {"server": world.url, "key": KEY}}
    with tune_bridge.open_sweep("shown", **how[request.param]) as opened:
        yield opened


@pytest.mark.slow
def test_runs_are_a_frame(sweep: Any) -> None:
    frame = sweep.runs()
    assert (frame.index.name, list(frame.index)) == ("id", [f"shown{n}" for n in range(12)])
    assert list(frame.columns) == [
        "name", "state", "stopped_early", "created_at", "started_at", "ended_at", "rows",
        "config.lr", "config.net.kind", "summary.loss", "message",
    ]  # fmt: skip
    assert list(frame["state"]) == ["running"] * 2 + ["finished"] * 10
    assert frame["config.lr"].dtype == frame["summary.loss"].dtype == "float64"
    assert [*frame["summary.loss"].isna()] == [True, True] + [False] * 10
    times = frame["started_at"]
    assert times.dt.tz is not None
    assert times.iloc[3] == pd.Timestamp(T0 + 3.25, unit="s", tz="UTC")
    assert [*frame["ended_at"].isna()] == [True, True] + [False] * 10


@pytest.mark.slow
def test_history(sweep: Any) -> None:
    frame = sweep.history()
    assert frame.index.names == ["run", "step"]
    assert len(frame) == 22
    assert list(frame.loc["shown5"]["loss"]) == [6.0, 5.0]
    one = sweep.history("shown5")
    assert list(one.index) == [("shown5", 0), ("shown5", 1)]
    assert one["_timestamp"].iloc[1] == pd.Timestamp(T0 + 1, unit="s", tz="UTC")
    assert sweep.history("shown0").empty
    with pytest.raises(NotFoundError, match="no such run; found 'elsewhere'"):
        sweep.history("elsewhere")


@pytest.mark.slow
def test_best_and_what_a_prompt_says(sweep: Any) -> None:
    best = sweep.best()
    assert (best.run_id, best.value, best.name) == ("shown2", 2.0, f"{NAME}2")
    assert best.config == {"lr": 0.2, "net": {"kind": "<b>"}}
    assert (sweep.id, sweep.name, sweep.state) == ("shown", NAME, "running")
    assert sweep.config == CONFIG
    assert repr(sweep) == "<Sweep shown: running, 12 of 20 runs: 2 running, 10 finished>"


@pytest.mark.slow
def test_the_table_of_a_notebook(sweep: Any) -> None:
    shown = sweep._repr_html_()
    cells = [html.unescape(cell) for cell in re.findall("<td>(.*?)</td>", shown)]
    ranked = [*range(2, 12)]
    assert cells[::5] == [f"{NAME}{n}" for n in ranked]
    assert cells[2::5] == [str(n) for n in ranked]
    assert cells[3::5] == [f"{n / 10:g}" for n in ranked]
    assert cells[4::5] == ["<b>"] * 10
    assert re.findall("<th>(.*?)</th>", shown) == ["run", "state", "loss", "lr", "net.kind"]
    assert "12 of 20 runs: 2 running, 10 finished" in shown
    assert "<div>2 more</div>" in shown
    tags = {"div", "b", "a", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(re.findall("</?([a-z]+)", shown)) <= tags, "texts of users stay texts"


@pytest.mark.slow
def test_a_page_in_a_frame(
    sweep: Any, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("plotly")
    page = sweep.show(height=321)
    assert capsys.readouterr().out == f"{page!r}\n", "as a program does it"
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    sweep.show()
    assert capsys.readouterr().out == "", "a prompt shows the value itself"
    shown = page._repr_html_()
    frame = re.search(r'<iframe srcdoc="([^"]*)" sandbox="allow-scripts" style="([^"]*)"', shown)
    assert frame is not None
    assert "height:321px" in frame[2]
    inside = html.unescape(frame[1])
    assert inside.startswith("<!doctype html>")
    assert "Content-Security-Policy" in inside
    assert f"<h1>{html.escape(NAME)}</h1>" in inside
    # That server wants a key: its address helps who has named the server, and has the key.
    assert sweep.url in (None, f"{world.url}/sweeps/shown")
    assert (world.url in shown) == (sweep.url is not None)
    command = f"tune-bridge dashboard --backend sqlite:///{world.place}"
    assert repr(page) == (sweep.url or f"watch it with: {command}  (sweep shown)")
    assert KEY not in shown + repr(page) + repr(sweep)


@pytest.mark.slow
def test_ipython_shows_it(sweep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own formatters take what there is: HTML for a notebook, one line for a terminal."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)  # it sets one, for all of the process
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    shell.display_formatter.active_types = ["text/plain", "text/html"]
    data, _ = shell.display_formatter.format(sweep)
    assert data["text/plain"] == repr(sweep)
    assert data["text/html"] == sweep._repr_html_()


@pytest.mark.slow
@pytest.mark.browser
def test_the_frame_draws_in_a_browser(world: World, tmp_path: Path, chromium: Any) -> None:
    pytest.importorskip("plotly")
    with tune_bridge.open_sweep("shown", backend=world.place) as sweep:
        parts = sweep._repr_html_() + sweep.show()._repr_html_()
    (tmp_path / "notebook.html").write_text(f"<!doctype html><body>{parts}</body>", "utf-8")
    page = chromium.new_page(viewport={"width": 1100, "height": 1100})
    said: list[str] = []
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:", "about:"))
            else said.append(r.url))  # fmt: skip
    page.goto((tmp_path / "notebook.html").as_uri())
    frame = page.frame_locator("iframe")
    frame.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=60_000)
    assert frame.locator("h1").inner_text() == NAME
    assert page.locator("tbody tr").count() == 10
    page.screenshot(path=str(tmp_path / "notebook.png"))
    page.close()
    assert said == []


def test_a_sweep_of_an_open_backend_without_runs(tmp_path: Path) -> None:
    with open_backend(str(tmp_path / "sweeps.db")) as backend:
        made = backend.create_sweep({"method": "random"}, name="new")
        with tune_bridge.open_sweep(f"local/p/{made.id}", backend=backend) as sweep:
            assert sweep.best() is None
            assert sweep.runs().empty
            assert sweep.history().empty
            assert "<table" not in sweep._repr_html_()
            assert repr(sweep) == f"<Sweep {made.id}: running, 0 runs>"
        assert backend.sweep(made.id).name == "new", "who has opened it closes it"


def test_what_is_no_sweep(tmp_path: Path) -> None:
    place = str(tmp_path / "sweeps.db")
    with pytest.raises(NotFoundError, match="no such sweep"):
        tune_bridge.open_sweep("nothing", backend=place)
    with pytest.raises(InputError, match="both a server and a place"):
        tune_bridge.open_sweep("nothing", backend=place, server="http://127.0.0.1:1")
    with pytest.raises(BackendError):
        tune_bridge.open_sweep("nothing", server="http://127.0.0.1:1")
    for nothing in (None, 5):
        with pytest.raises(InputError, match="names no sweep"):
            tune_bridge.open_sweep(nothing)  # type: ignore[arg-type]


def test_the_sweep_of_an_experiment(tmp_path: Path) -> None:
    pytest.importorskip("ray.tune")
    from tune_bridge import SweepCallback

    place = str(tmp_path / "sweeps.db")
    with pytest.raises(InputError, match="the experiment has not begun"):
        tune_bridge.open_sweep(SweepCallback(backend=place))
    callback = SweepCallback(backend=place, sweep_id=_put(place, "mine", runs=3))
    with tune_bridge.open_sweep(callback) as sweep:
        assert (sweep.id, len(sweep.runs())) == ("mine", 3)


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, tune_bridge; tune_bridge.open_sweep;"
        "print({'pandas', 'IPython', 'plotly', 'dash', 'ray'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


@pytest.mark.slow
def test_the_documents_example(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNE_BRIDGE_SERVER", world.url)
    monkeypatch.setenv("TUNE_BRIDGE_KEY", KEY)
    scope: dict[str, Any] = {}
    first, second = blocks("docs/notebook.md", "python")
    exec(first, scope)
    capsys.readouterr()
    exec(second, scope)
    assert capsys.readouterr().out == blocks("docs/notebook.md", "text")[0]
