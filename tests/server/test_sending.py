"""What is sent of drawings that change."""

from __future__ import annotations

import pytest

pytest.importorskip("dash")

from dash import no_update

from tests.server.seed import make_sweep
from tune_bridge.backends.base import LogRows, PatchSweep, Row
from tune_bridge.server.sending import LARGE, WAIT, news
from tune_bridge.server.state import Choices
from tune_bridge.server.sweep_page import parallel_figure
from tune_bridge.server.views import Reader


def test_a_drawing_is_sent_when_it_looks_otherwise(backend) -> None:
    reader = Reader(backend)
    make_sweep(backend, 12)
    first, sent = news(drawn(reader), None, asked=False)
    assert first["data"]
    assert sent["wait"] == 0
    backend.apply([PatchSweep("abcd1234", {"message": "a word"}, 2e9)])
    again = drawn(reader)
    assert again["layout"]["uirevision"] != first["layout"]["uirevision"]
    assert news(again, sent, asked=False) == (no_update, no_update)
    assert news(again, sent, asked=True) == (again, sent)
    (run,) = backend.runs("abcd1234", states=["running"], limit=1)
    backend.apply([LogRows(run.id, [Row(run.last_step + 1, 2e9, {"val_loss": 0.5})])])
    other, told = news(drawn(reader), sent, asked=False)
    assert other["data"] != first["data"]
    assert told != sent


def test_a_large_drawing_waits() -> None:
    figure = {"data": [{"x": "1" * LARGE}], "layout": {}}
    assert news(figure, None, asked=False)[1]["wait"] == WAIT


def drawn(reader: Reader) -> dict:
    return parallel_figure(reader.snapshot("abcd1234"), Choices())
