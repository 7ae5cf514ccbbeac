"""Runs of an unmodified wandb client: what they say is kept, and the public API reads it back."""

from __future__ import annotations

import math

import pytest

pytestmark = pytest.mark.slow


def test_a_run_and_what_the_public_api_says_of_it(place):
    found = place.python(
        """
        config = {"lr": 0.1, "n": 2.0, "deep": {"a": [1, 2.5]}, "none": None}
        run = wandb.init(project="p", name="first", config=config, tags=["t"], notes="hello",
                         group="g", job_type="train")
        run.define_metric("loss", summary="min")
        print("a line of the console")
        for i in range(4):
            run.log({"loss": [4.0, 1.0, 2.0, 3.0][i], "nest": {"x": i}, "bad": float("nan")})
        run.log({"loss": float("inf"), "late": True}, step=10)
        run.alert(title="look", text="here")
        run.summary["best"] = 0.5
        run.config["added"] = "later"
        run.finish()

        api = wandb.Api()
        run = api.run(f"local/p/{run.id}")
        run.notes, run.tags, run.config["seen"] = "changed", ["t", "u"], True
        run.update()
        run = api.run(f"local/p/{run.id}")
        file = run.file("output.log").download(root="got", replace=True)
        answer({
            "id": run.id, "name": run.name, "state": run.state, "config": run.config,
            "notes": run.notes, "tags": run.tags, "group": run.group, "type": run.job_type,
            "summary": dict(run.summary), "history": run.history(pandas=False),
            "keys": run.history(keys=["loss"], pandas=False),
            "scan": list(run.scan_history()), "scan_keys": list(run.scan_history(keys=["late"])),
            "range": [row["_step"] for row in run.scan_history(min_step=1, max_step=3)],
            "last": run.lastHistoryStep, "files": sorted(f.name for f in run.files()),
            "md5": [f.md5 for f in run.files(names=["output.log"])], "log": file.read(),
            "url": run.url, "projects": [p.name for p in api.projects("local")],
        })
        """
    )
    assert (found["name"], found["state"], found["notes"]) == ("first", "finished", "changed")
    assert (found["tags"], found["group"], found["type"]) == (["t", "u"], "g", "train")
    assert found["config"] == {
        "lr": 0.1, "n": 2, "deep": {"a": [1, 2.5]}, "none": None, "added": "later", "seen": True,
    }  # fmt: skip
    assert found["summary"]["loss"] == {"min": 1}
    assert found["summary"]["best"] == 0.5
    assert [row["_step"] for row in found["history"]] == [0, 1, 2, 3, 10]
    assert [row["nest"] for row in found["scan"][:4]] == [{"x": i} for i in range(4)]
    assert math.isnan(found["history"][0]["bad"])
    assert [row["loss"] for row in found["keys"]][:4] == [4, 1, 2, 3]
    assert [row["late"] for row in found["scan_keys"]] == [True]
    assert (found["range"], found["last"]) == ([1, 2], 10)
    assert {"config.yaml", "output.log", "wandb-metadata.json", "wandb-summary.json"} <= set(
        found["files"]
    )
    assert "a line of the console" in found["log"]
    assert len(found["md5"]) == 1
    assert found["projects"] == ["p"]
    assert found["url"] == f"{place.url}/local/p/runs/{found['id']}"

    kept = place.backend.run(found["id"])
    assert (kept.state, kept.exit_code, kept.rows, kept.last_step) == ("finished", 0, 5, 10)
    assert kept.meta["wandb.alerts"] == [{"title": "look", "text": "here"}]
    rows = place.backend.history(kept.id)
    assert math.isnan(rows[0].values["bad"])
    assert rows[4].values["loss"] == math.inf


def test_resume(place):
    found = place.python(
        """
        import os
        def run(resume, *losses, id="again"):
            with wandb.init(project="resume", id=id, resume=resume) as run:
                for loss in losses:
                    run.log({"loss": loss})
                return run.resumed, run.step
        said = [run("never", 3, 2), run("must", 1), run("allow", 0.5)]
        refused = []
        for how, id in (("never", "again"), ("must", "unknown")):
            try:
                run(how, id=id)
            except Exception as error:
                refused.append(type(error).__name__)
        scan = list(wandb.Api().run("local/resume/again").scan_history())
        answer({"said": said, "refused": refused, "rows": [(r["_step"], r["loss"]) for r in scan]})
        """
    )
    assert [resumed for resumed, _ in found["said"]] == [False, True, True]
    assert found["rows"] == [[0, 3], [1, 2], [2, 1], [3, 0.5]]
    assert len(found["refused"]) == 2
    assert place.backend.run("again").state == "finished"


def test_forty_runs_in_one_process(place):
    found = place.python(
        """
        runs = [
            wandb.init(project="many", name=f"r{i}", config={"i": i}, reinit="create_new",
                       settings=wandb.Settings(console="off", x_disable_stats=True))
            for i in range(40)
        ]
        for step in range(3):
            for i, run in enumerate(runs):
                run.log({"loss": i + step})
        for run in runs:
            run.finish()
        runs = wandb.Api().runs("local/many", order="-summary_metrics.loss", per_page=7)
        some = wandb.Api().runs("local/many", filters={"$and": [
            {"config.i": {"$gte": 10}}, {"summary_metrics.loss": {"$lt": 15}},
            {"state": "finished"}, {"display_name": {"$in": ["r10", "r11", "r30"]}}]})
        answer({"n": len(runs), "order": [run.summary["loss"] for run in runs],
                "some": sorted(run.name for run in some)})
        """
    )
    assert found["n"] == 40
    assert found["order"] == list(range(41, 1, -1))
    assert found["some"] == ["r10", "r11"]


def test_how_runs_end(place):
    place.write("ends.py", "import sys, wandb\nwandb.init(project='ends', id=sys.argv[1])\n")
    for name, line in {
        "fails": "raise ValueError('no')",
        "exits": "sys.exit(3)",
        "interrupted": "raise KeyboardInterrupt",
    }.items():
        place.write(f"{name}.py", f"exec(open('ends.py').read())\nwandb.log({{'a': 1}})\n{line}\n")
        place.call("python", f"{name}.py", name, fails=True)
    states = {
        name: (run.state, run.exit_code, run.rows)
        for name in ("fails", "exits", "interrupted")
        for run in [place.backend.run(name)]
    }
    assert states == {
        "fails": ("failed", 1, 1), "exits": ("failed", 3, 1), "interrupted": ("killed", 255, 1),
    }  # fmt: skip


def test_offline_runs_are_synchronised_and_files_saved(place):
    found = place.python(
        """
        import pathlib, subprocess, sys
        pathlib.Path("kept").mkdir(exist_ok=True)
        pathlib.Path("kept/a b.txt").write_text("content")
        run = wandb.init(project="off", id="offline1", mode="offline")
        run.log({"loss": 1}); run.log({"loss": 2})
        wandb.save("kept/a b.txt", base_path="kept")
        folder = pathlib.Path(run.dir).parent
        run.finish()
        said = subprocess.run(["wandb", "sync", str(folder)], capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        run = wandb.Api().run("local/off/offline1")
        rows = [row["loss"] for row in run.history(pandas=False)]
        got = run.file("a b.txt").download(root="got2", replace=True).read()
        run.file("a b.txt").delete()
        names = [f.name for f in run.files(pattern="a%")]
        wandb.Api().run("local/off/offline1").delete()
        left = len(wandb.Api().runs("local/off"))
        answer({"rows": rows, "got": got, "names": names, "left": left})
        """
    )
    assert found == {"rows": [1, 2], "got": "content", "names": [], "left": 0}


def test_a_stopped_run_is_interrupted(place):
    found = place.python(
        """
        import time
        run = wandb.init(project="stops", id="stopme")
        wandb.Api().run("local/stops/stopme").stop()
        stopped = False
        try:
            for i in range(1000):
                run.log({"i": i})
                time.sleep(0.1)
        except KeyboardInterrupt:
            stopped = True
        run.finish(exit_code=255 if stopped else 0)
        answer(stopped)
        """,
        WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL="1",
    )
    assert found is True
    assert place.backend.run("stopme").state == "killed"
