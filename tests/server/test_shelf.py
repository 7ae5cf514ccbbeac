"""Checkpoints on the server: what is still needed stays, the rest goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from tests.server.control_client import Client
from tune_bridge.server.shelf import UPLOADING, Shelf


def save(caller: Client, run: str, name: str) -> None:
    assert (
        caller.http.put(f"/api/runs/{run}/checkpoints/{name}", content=name.encode()).json() == {}
    )


def report(caller: Client, run: str, seq: int, name: str | None, attempt: int = 1) -> Any:
    body = {"attempt": attempt, "seq": seq, "rows": [[seq, 1.0, {"loss": 1.0 / (seq + 1)}]]}
    answer = caller.post(f"/api/runs/{run}/reports", {**body, "checkpoint": name})
    assert answer.status_code == 200, answer.text
    return answer.json()


def lying(caller: Client, sweep: str, run: str) -> list[str]:
    folder = caller.folder / "checkpoints" / sweep / run
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_newest_two_of_each_run_stay(caller):
    sweep = caller.sweep()
    runs = [caller.claim(sweep, name)["run"] for name in "ab"]
    for seq in range(5):
        for run in runs:
            save(caller, run, f"c{seq}")
            report(caller, run, seq, f"c{seq}")
    caller.controller.tick()
    assert [lying(caller, sweep, run) for run in runs] == [["c3.tar", "c4.tar"]] * 2
    assert caller.http.get(f"/api/runs/{runs[0]}/checkpoints/c4").content == b"c4"
    assert caller.http.get(f"/api/runs/{runs[0]}/checkpoints/c0").status_code == 404


def test_what_a_run_has_started_from_stays(caller):
    """Its agent may not have fetched it yet, or comes back with the same request."""
    sweep = caller.sweep(run_cap=1)
    run = caller.claim(sweep)["run"]
    save(caller, run, "first")
    report(caller, run, 0, "first")
    end = {"attempt": 1, "state": "crashed", "preempted": True}
    assert caller.post(f"/api/runs/{run}/end", end).json() == {}
    claim = caller.claim(sweep, "again")
    assert claim["checkpoint"]["id"] == "first"
    for seq in range(4):
        save(caller, run, f"c{seq}")
        report(caller, run, seq, f"c{seq}", attempt=2)
        caller.controller.tick()
    assert lying(caller, sweep, run) == ["c2.tar", "c3.tar", "first.tar"]
    caller.post(f"/api/runs/{run}/end", {"attempt": 2, "state": "finished"})
    caller.controller.tick()
    assert lying(caller, sweep, run) == ["c2.tar", "c3.tar"]


def test_what_another_run_may_be_copied_from_stays(caller, backend):
    """A population keeps the state of its best member as it was when all were compared."""
    pytest.importorskip("ray")
    from tests.engines.agents import SCHEDULERS, experiment
    from tune_bridge.sweep_config import SweepConfig

    config = dict(SweepConfig.from_experiment(experiment(SCHEDULERS["pbt"], 4)))
    sweep = caller.post("/api/sweeps", {"config": config, "seed": 1}).json()["id"]
    runs = [caller.claim(sweep, f"r{number}", f"a{number}")["run"] for number in range(4)]
    driven = caller.controller.sweep(sweep)
    saved: dict[str, list[str]] = {run: [] for run in runs}
    kept_for_others = 0
    for seq in range(12):
        for number, run in enumerate(runs):
            if number and seq > 4:  # the first one goes on, and the others wait
                continue
            if driven.state.runs[run].status != "running":
                continue
            save(caller, run, f"{run}-{seq}")
            saved[run].append(f"{run}-{seq}")
            body = {"attempt": 1, "seq": seq, "checkpoint": f"{run}-{seq}", "resumable": True,
                    "rows": [[seq, 1.0, {"loss": float(number)}]]}  # fmt: skip
            caller.post(f"/api/runs/{run}/reports", body)
            caller.controller.tick()
            needed = driven.checkpoints()
            there = {name for each in runs for name in lying(caller, sweep, each)}
            assert {f"{name}.tar" for name in needed} <= there
            newest = {name for each in runs for name in saved[each][-2:]}
            kept_for_others += len(needed - newest)
    assert kept_for_others


def test_a_server_that_starts_again_looks_once_at_what_lies_there(caller, backend, tmp_path):
    sweep = caller.sweep()
    run = caller.claim(sweep)["run"]
    folder = tmp_path / "checkpoints" / sweep / run
    for seq in range(4):
        save(caller, run, f"c{seq}")
        report(caller, run, seq, f"c{seq}")
        os.utime(folder / f"c{seq}.tar", ns=(seq, seq))
    (folder / f"{UPLOADING}half").write_bytes(b"half of one")
    assert len(lying(caller, sweep, run)) == 5
    again = Client(backend, tmp_path)
    again.controller.resume()
    again.controller.tick()
    assert lying(again, sweep, run) == ["c2.tar", "c3.tar"]


def test_a_checkpoint_that_is_gone_is_not_told(caller):
    """An agent of the past has saved more than is kept, in between."""
    sweep = caller.sweep(run_cap=1)
    run = caller.claim(sweep)["run"]
    for name in ("mine", "of", "another"):
        save(caller, run, name)
    caller.controller.tick()
    report(caller, run, 0, "mine")
    assert caller.controller.sweep(sweep).checkpoints() == set()
    report(caller, run, 1, "another")
    assert caller.controller.sweep(sweep).checkpoints() == {"another"}


def test_files_go_with_their_run_and_their_sweep(caller, backend, tmp_path):
    sweep = caller.sweep()
    runs = [caller.claim(sweep, name)["run"] for name in "ab"]
    for run in runs:
        save(caller, run, "only")
        report(caller, run, 0, "only")
        caller.http.post(f"/api/runs/{run}/output?offset=0", content=b"said")
        caller.post(f"/api/runs/{run}/end", {"attempt": 1, "state": "finished"})
    caller.controller.delete_run(runs[0])
    caller.controller.tick()
    assert not (tmp_path / "checkpoints" / sweep / runs[0]).exists()
    assert not (tmp_path / "output" / sweep / runs[0]).exists()
    assert (tmp_path / "output" / sweep / runs[1]).exists()
    caller.controller.delete_sweep(sweep)
    caller.controller.tick()
    assert not (tmp_path / "checkpoints" / sweep).exists()
    assert not (tmp_path / "output" / sweep).exists()
    assert caller.http.get(f"/api/sweeps/{sweep}").status_code == 404


def test_nothing_is_asked_for_when_nothing_is_old(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "sweep", 2)
    asked: list[str] = []

    def needed() -> set[str]:
        asked.append("needed")
        return {"a"}

    for name in ("a", "b", "b"):
        shelf.add("run", name)
        shelf.clear(needed)
    assert not asked
    shelf.add("run", "c")
    shelf.clear(needed)
    assert (asked, shelf.old) == (["needed"], 1)
    shelf.clear(set)
    assert shelf.old == 0
