"""What a client does in a life: run with any version of wandb, against a running server.

    WANDB_BASE_URL=... WANDB_API_KEY=... python scenario.py FOLDER

writes one JSON object of step -> "ok" or what went wrong, and needs wandb alone. `test_scenario`
runs it with the installed version, or with the interpreters that ``TUNE_BRIDGE_WANDB_PYTHONS``
names (paths with a colon between them).
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import traceback

import wandb

PROJECT = "scenario-" + wandb.__version__.replace(".", "-")
ENTITY = "local"
CONFIG = {
    "program": "scenario_train.py",
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "kind": {"values": ["a", "b"]}},
}
TRAIN = """\
import wandb
run = wandb.init()
for step in range(3):
    run.log({"loss": run.config["x"] + step})
run.finish()
"""


def path(run: str) -> str:
    return f"{ENTITY}/{PROJECT}/{run}"


def init_log_finish() -> None:
    run = wandb.init(project=PROJECT, id="basic", config={"lr": 0.1}, tags=["t"], notes="n")
    for step in range(5):
        run.log({"loss": 5.0 - step, "nested": {"v": step}})
    run.summary["best"] = 1
    run.finish()
    found = wandb.Api().run(path("basic"))
    assert found.state == "finished", found.state
    assert found.config["lr"] == 0.1, found.config
    assert (found.summary["loss"], found.summary["best"]) == (1, 1), dict(found.summary)
    assert (list(found.tags), found.notes) == (["t"], "n")


def history() -> None:
    run = wandb.Api().run(path("basic"))
    assert [row["loss"] for row in run.history(pandas=False)] == [5, 4, 3, 2, 1]
    assert [row["loss"] for row in run.scan_history(keys=["loss"])] == [5, 4, 3, 2, 1]
    assert [row["nested.v"] if "nested.v" in row else row["nested"]["v"]
            for row in run.scan_history()] == [0, 1, 2, 3, 4]  # fmt: skip


def resume() -> None:
    run = wandb.init(project=PROJECT, id="basic", resume="must")
    assert run.resumed
    run.log({"loss": 0.5})
    run.finish()
    assert len(wandb.Api().run(path("basic")).history(pandas=False)) == 6


def files() -> None:
    run = wandb.init(project=PROJECT, id="files")
    place = pathlib.Path(run.dir) / "kept.txt"
    place.write_text("hello")
    wandb.save(str(place), base_path=run.dir, policy="now")
    run.finish()
    found = wandb.Api().run(path("files"))
    names = {file.name for file in found.files()}
    assert {"kept.txt", "config.yaml"} <= names, names
    found.file("kept.txt").download(root="scenario-files", replace=True)
    assert pathlib.Path("scenario-files/kept.txt").read_text() == "hello"


def artifacts() -> None:
    for text in ("one", "two"):
        run = wandb.init(project=PROJECT)
        made = wandb.Artifact("data", type="dataset", metadata={"text": text})
        with made.new_file("text.txt") as file:
            file.write(text)
        run.log_artifact(made, aliases=["latest", text]).wait()
        run.finish()
    run = wandb.init(project=PROJECT, id="user")
    used = run.use_artifact("data:one")
    folder = pathlib.Path(used.download(root="scenario-artifact"))
    assert (folder / "text.txt").read_text() == "one"
    run.finish()
    found = wandb.Api().artifact(path("data:latest"))
    assert (found.version, found.metadata) == ("v1", {"text": "two"}), found.metadata
    assert [each.version for each in wandb.Api().run(path("user")).used_artifacts()] == ["v0"]


def table() -> None:
    run = wandb.init(project=PROJECT, id="table")
    run.log({"table": wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])})
    run.finish()
    assert wandb.Api().run(path("table")).summary["table"]["nrows"] == 2


def sweep_and_function() -> None:
    sweep = wandb.sweep(dict(CONFIG, name="mine"), project=PROJECT, entity=ENTITY)
    seen = []

    def function() -> None:
        run = wandb.init()
        seen.append(dict(run.config))
        run.log({"loss": run.config["x"]})
        run.finish()

    wandb.agent(sweep, function=function, count=2, project=PROJECT, entity=ENTITY)
    assert len(seen) == 2, seen
    found = wandb.Api().sweep(path(sweep))
    assert len(found.runs) >= 2
    losses = [run.summary["loss"] for run in found.runs if "loss" in run.summary]
    assert losses
    assert found.best_run().summary["loss"] == min(losses)
    assert found.state in ("RUNNING", "PENDING"), found.state


def cli(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "wandb", *arguments],
        env=dict(os.environ, WANDB_SILENT="false"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def sweep_and_program() -> None:
    pathlib.Path(CONFIG["program"]).write_text(TRAIN)
    pathlib.Path("scenario.yaml").write_text(json.dumps(dict(CONFIG, run_cap=2)))
    said = cli("sweep", "--project", PROJECT, "--entity", ENTITY, "scenario.yaml")
    sweep = said.split("wandb agent ")[1].split()[0]
    cli("agent", "--count", "1", sweep)
    found = wandb.Api().sweep(sweep)
    assert [run.state for run in found.runs] == ["finished"]
    cli("sweep", "--stop", sweep)
    assert wandb.Api().sweep(sweep).state == "FINISHED"


def offline() -> None:
    os.environ["WANDB_MODE"] = "offline"
    try:
        run = wandb.init(project=PROJECT, id="offline")
        run.log({"loss": 7})
        folder = str(pathlib.Path(run.dir).parent)
        run.finish()
    finally:
        del os.environ["WANDB_MODE"]
    cli("sync", folder)
    assert wandb.Api().run(path("offline")).summary["loss"] == 7


def public_api() -> None:
    api = wandb.Api()
    runs = api.runs(f"{ENTITY}/{PROJECT}", filters={"summary_metrics.best": 1})
    assert [run.id for run in runs] == ["basic"]
    run = api.run(path("basic"))
    run.notes, run.tags = "changed", ["u"]
    run.config["more"] = [1]
    run.update()
    run = wandb.Api().run(path("basic"))
    assert (run.notes, list(run.tags), run.config["more"]) == ("changed", ["u"], [1])
    api.run(path("table")).delete()
    assert "table" not in [run.id for run in wandb.Api().runs(f"{ENTITY}/{PROJECT}")]
    assert PROJECT in [project.name for project in wandb.Api().projects(ENTITY)]


def several_at_once() -> None:
    runs = [wandb.init(project=PROJECT, id=f"many{n}", reinit="create_new") for n in range(3)]
    for number, run in enumerate(runs):
        run.log({"n": number})
    for run in runs:
        run.finish()
    api = wandb.Api()
    assert [api.run(path(f"many{n}")).summary["n"] for n in range(3)] == [0, 1, 2]


def alert() -> None:
    run = wandb.init(project=PROJECT, id="alert")
    run.alert(title="title", text="text")
    run.finish()


STEPS = (
    init_log_finish, history, resume, files, artifacts, table, sweep_and_function,
    sweep_and_program, offline, public_api, several_at_once, alert,
)  # fmt: skip


def main(folder: str) -> None:
    os.chdir(folder)
    found = {"version": wandb.__version__}
    for step in STEPS:
        try:
            step()
            found[step.__name__] = "ok"
        except (Exception, SystemExit):
            found[step.__name__] = traceback.format_exc()[-1500:]
            wandb.finish(exit_code=1)
    pathlib.Path("scenario.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
