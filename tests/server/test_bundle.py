"""A sweep in one file, and its runs as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

pytest.importorskip("dash")

from tests.server.seed import make_sweep
from tests.server.test_browser import EVIL
from tune_bridge.backends.base import LogRows, PatchRun, PutRun, PutSweep, Row, Run, Sweep
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.bundle import bundle
from tune_bridge.server.exports import runs_csv
from tune_bridge.server.views import Reader


def test_runs_as_csv(client, backend) -> None:
    make_sweep(backend, 30)
    values = {"loss": float("nan"), "big": 1e300, "text": 'a "b",\nc', "list": [1, None]}
    run = Run(id="odd", sweep_id="abcd1234", state="running", config={"a": {"b": 1e-5}})
    backend.apply([PutRun(run), LogRows("odd", [Row(0, 1.0, values)])])
    answer = client.get("/api/sweeps/abcd1234/runs.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(found) == 31
    by_id = {line["id"]: line for line in found}
    first, odd = backend.run("abcd0003"), by_id["odd"]
    assert float(by_id["abcd0003"]["config.lr"]) == first.config["lr"]
    assert float(by_id["abcd0003"]["summary.val_loss"]) == first.summary["val_loss"]
    assert odd["config.a.b"] == "1e-05"
    assert (odd["summary.text"], odd["summary.list"]) == ('a "b",\nc', "[1, null]")
    assert (odd["summary.loss"], odd["summary.big"]) == ("nan", "1e+300")
    assert odd["config.lr"] == ""


def test_an_empty_sweep(backend) -> None:
    make_sweep(backend, 0)
    reader = Reader(backend)
    assert "resnet baseline" in bundle(reader, "abcd1234", Analyst())
    assert len(list(runs_csv(reader.snapshot("abcd1234"), []))) == 1


@pytest.mark.browser
@pytest.mark.slow
def test_the_file_needs_nothing(chromium, backend, client, tmp_path: Path) -> None:
    make_sweep(backend, 40)
    backend.apply(
        [
            PutSweep(Sweep(id="evil0000", name=EVIL, project=EVIL, message=EVIL, created_at=1.0)),
            PutRun(Run(id="e", sweep_id="evil0000", name=EVIL, config={EVIL: EVIL, "x": 1})),
            LogRows("e", [Row(0, 1.0, {EVIL: 1.0})]),
            PatchRun("e", {"state": "failed", "message": EVIL}, 2.0),
        ]
    )
    context = chromium.new_context(offline=True)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    for sweep_id, name in (("abcd1234", "resnet baseline"), ("evil0000", EVIL)):
        file = tmp_path / f"{sweep_id}.html"
        file.write_text(client.get(f"/api/sweeps/{sweep_id}/bundle.html").text, "utf-8")
        page.goto(file.as_uri())
        page.wait_for_selector("#f9 .main-svg")
        assert page.locator("h1").inner_text() == name
        assert page.locator(".figure .main-svg").count() > 10
        assert page.evaluate("window.pwned") is None
    page.goto((tmp_path / "abcd1234.html").as_uri())
    page.locator("th", has_text="val_loss").click()
    cells = page.evaluate(
        """[...document.querySelectorAll('tbody tr')].map((row) => row.cells[2])
            .filter((cell) => cell.hasAttribute('data-v'))
            .map((cell) => Number(cell.getAttribute('data-v')))"""
    )
    assert len(cells) > 10
    assert cells == sorted(cells)
    assert problems == []
    context.close()
