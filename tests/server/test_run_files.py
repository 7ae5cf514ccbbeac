"""Files of runs, and everything that the JSON of a run says."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.server.control_client import Client

pytest.importorskip("dash")

EVIL = '<img src=x onerror="alert(1)">'


def claimed(caller: Client) -> tuple[str, str]:
    sweep = caller.sweep()
    return sweep, caller.claim(sweep)["run"]


def upload(caller: Client, sweep: str, run: str, name: str, data: bytes) -> None:
    with caller.control.wandb.files.upload((sweep, run), name) as made:
        made.write(data)
        made.commit()


def test_files_are_listed_and_sent_as_attachments(caller) -> None:
    sweep, run = claimed(caller)
    steps = [f"media/images/{EVIL}_{step}.png" for step in (9, 10, 200)]  # as people count
    names = ["drawing.svg", *steps, "page.html", "requirements.txt"]
    for name in reversed(names):
        upload(caller, sweep, run, name, name.encode())
    listed = caller.http.get(f"/api/runs/{run}/files").json()["files"]
    assert [(file["name"], file["size"]) for file in listed] == [
        (name, len(name)) for name in names
    ]
    for file in listed:
        got = caller.http.get(file["url"])
        assert got.content == file["name"].encode()
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["content-security-policy"].startswith("sandbox")
        kind, how = got.headers["content-type"], got.headers["content-disposition"]
        inline = file["name"].endswith(".png")
        assert kind == ("image/png" if inline else "application/octet-stream")
        assert how.startswith("inline" if inline else "attachment")
    assert caller.http.get(f"/api/runs/{run}").json()["files"] == listed
    for path in ("nothing.txt", quote("../../secret", safe=""), "..%2f..%2fsweeps.db"):
        assert caller.http.get(f"/api/runs/{run}/files/{path}").status_code in (404, 422)
    assert caller.http.get("/api/runs/nosuch00/files").status_code == 404


def test_checkpoints_are_listed_with_what_became_of_them(caller) -> None:
    _, run = claimed(caller)
    for seq in range(4):
        data = b"x" * (seq + 1)
        assert caller.http.put(f"/api/runs/{run}/checkpoints/c{seq}", content=data).is_success
        row = [seq, 1.0 + seq, {"loss": 1.0, "training_iteration": seq + 1}]
        body = {"attempt": 1, "seq": seq, "rows": [row], "checkpoint": f"c{seq}"}
        assert caller.post(f"/api/runs/{run}/reports", body).is_success
    (caller.folder / "checkpoints").rglob("c0.tar").__next__().unlink()
    listed = caller.http.get(f"/api/runs/{run}/checkpoints").json()["checkpoints"]
    assert [(one["id"], one["iteration"], one["size"]) for one in listed] == [
        ("c0", 1, None), ("c1", 2, 2), ("c2", 3, 3), ("c3", 4, 4)
    ]  # fmt: skip
    assert listed[0]["url"] is None
    got = caller.http.get(listed[3]["url"])
    assert got.content == b"xxxx"
    assert got.headers["content-disposition"] == 'attachment; filename="c3.tar"'
    assert caller.http.get(f"/api/runs/{run}").json()["checkpoints"] == listed


def test_artifacts_of_a_run_have_their_files(caller) -> None:
    from tune_bridge.server.wandb.catalog import Catalog
    from tune_bridge.server.wandb.shelf import COMMITTED, Place

    _, run = claimed(caller)
    place = Place("local", "uncategorized")
    item = {
        "key": "k1", "collection": "model", "type": "weights", "state": COMMITTED, "version": 2,
        "run": run, "created": 5.0, "aliases": ["latest"], "files": {"a/b.bin": "content/d1"},
    }  # fmt: skip
    other = {**item, "key": "k2", "run": "another", "version": 3}
    with caller.control.wandb.shelves.edit(place) as shelf:
        shelf.collection("model", "weights")
        shelf.items.update(k1=item, k2=other)
    with caller.control.wandb.files.upload(Catalog.owner(place), "content/d1") as made:
        made.write(b"bytes")
        made.commit()
    (listed,) = caller.http.get(f"/api/runs/{run}/files").json()["files"]
    assert listed == {
        "name": "a/b.bin", "size": 5, "time": 5.0, "artifact": ["model:v2", "weights"],
        "url": f"/api/runs/{run}/artifacts/k1/a/b.bin",
    }  # fmt: skip
    got = caller.http.get(listed["url"])
    assert got.content == b"bytes"
    assert got.headers["content-disposition"].startswith("attachment")
    for path in ("k2/a/b.bin", "k1/other", "k9/a/b.bin"):
        assert caller.http.get(f"/api/runs/{run}/artifacts/{path}").status_code == 404


def test_output_of_the_wandb_client_is_found(caller) -> None:
    sweep, run = claimed(caller)
    assert caller.http.get(f"/api/runs/{run}/output").content == b""
    caller.control.wandb.lines.write((sweep, run), "output", 0, ["one", "two"])
    assert caller.http.get(f"/api/runs/{run}/output").text == "one\ntwo\n"
    caller.control.store.add_output(sweep, run, 1, 0, b"of the agent\n")
    assert caller.http.get(f"/api/runs/{run}/output").text == "of the agent\n"


def test_the_json_of_a_run_tells_its_story(caller) -> None:
    sweep, run = claimed(caller)
    for step in range(3):
        row = [step, 10.0 + step, {"loss": float(step), "acc": 0.5}]
        body = {"attempt": 1, "seq": step, "rows": [row]}
        assert caller.post(f"/api/runs/{run}/reports", body).is_success
    caller.post(f"/api/sweeps/{sweep}/commands", {"verb": "stop_run", "args": {"run": run}})
    caller.post(f"/api/runs/{run}/end", {"attempt": 1, "state": "killed"})
    told = caller.http.get(f"/api/runs/{run}").json()
    assert [one["what"] for one in told["life"]] == ["created", "started", "command", "left"]
    assert told["config_changes"] == told["files"] == []
    assert told["decision"]["sentence"] == "Somebody has stopped it by command."
    curves = caller.http.get(f"/api/runs/{run}/curves?y=loss&x=_timestamp&smooth=0.5").json()
    assert (curves["x"], curves["smooth"]) == ("_timestamp", 0.5)
    assert curves["curves"] == [
        {
            "run_id": run,
            "metric": "loss",
            "x": [10.0, 11.0, 12.0],
            "y": [0.0, 1.0, 2.0],
            "smoothed": pytest.approx([0.0, 0.666667, 1.42857], abs=1e-5),
        }
    ]
    assert json.loads(caller.http.get(f"/api/runs/{run}/curves").text)["curves"][0]["x"] == [
        0,
        1,
        2,
    ]
    assert caller.http.get("/api/runs/nosuch00/curves").status_code == 404
