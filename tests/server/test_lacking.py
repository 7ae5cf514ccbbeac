"""What is said where there is nothing: why, and what to do."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("dash")

from tests.server.seed import CONFIG
from tune_bridge.backends.base import PutRun, PutSweep, Run, RunState, Sweep
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.callbacks import make_page
from tune_bridge.server.lacking import no_best, no_runs
from tune_bridge.server.run_life import Logs
from tune_bridge.server.site import Site
from tune_bridge.server.views import Reader

BARE = {key: value for key, value in CONFIG.items() if key != "metric"}
BOOM = 'exit code 1\nTraceback (most recent call last):\n  File "t.py"\nRuntimeError: <b>out</b>\n'


def words(part: Any) -> str:
    """The texts of components, one after the other."""
    if isinstance(part, list | tuple):
        return "".join(map(words, part))
    return part if isinstance(part, str) else words(getattr(part, "children", None) or "")


def snapshot(backend, *summaries: dict, ended: RunState = "finished", config=CONFIG, **sweep):
    runs = [
        PutRun(Run(id=f"r{at}", sweep_id="s", state=ended, summary=summary, message=BOOM))
        for at, summary in enumerate(summaries)
    ]
    backend.apply([PutSweep(Sweep(id="s", config=config, **sweep)), *runs])
    return Reader(backend).snapshot("s")


@pytest.mark.parametrize(
    ("summaries", "state", "config", "said"),
    [
        ([{}], "finished", BARE, "The sweep names no metric, so that no run is better"),
        ([], "finished", CONFIG, "No run has logged val_loss yet."),
        ([{}], "running", CONFIG, "No run has logged val_loss yet."),
        ([{}], "finished", CONFIG, "No run has logged val_loss. A program logs it with wandb.log("),
        ([{"loss": 1}], "finished", CONFIG, "No run has logged val_loss; they log loss. Log it by"),
        ([{"val_loss": math.nan}], "finished", CONFIG, "val_loss is NaN or infinite in all runs"),
        ([{"val_loss": 1}], "crashed", CONFIG, "The only run failed: r0: RuntimeError: <b>out</b>"),
        ([{}, {}], "failed", BARE, "All 2 runs failed; the last one: r1: RuntimeError: <b>out<"),
    ],
)
def test_why_no_run_is_the_best(backend, summaries, state, config, said) -> None:
    found = snapshot(backend, *summaries, ended=state, config=config)
    assert found.best is None
    assert words(no_best(found)).startswith(said)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (
            "running",
            "No runs yetAgents start its runs, wherever its program is:tune-bridge agent s",
        ),
        ("paused", "No runs yetIt is paused: no run starts before it is resumed."),
        ("failed", "No runsThe sweep failed before a run started."),
        ("finished", "No runsThe sweep ended before a run started."),
    ],
)
def test_a_sweep_without_runs(backend, state, said) -> None:
    assert words(no_runs(snapshot(backend, state=state))).startswith(said)


def test_the_analysis_of_a_sweep_without_runs_says_so_too(backend) -> None:
    snapshot(backend, state="running")
    site = Site(Reader(backend), Analyst(backend), Logs(backend))
    content, _, _ = make_page(site, "/sweeps/s/analysis", "", "light")
    assert "tune-bridge agent s" in words(content)
