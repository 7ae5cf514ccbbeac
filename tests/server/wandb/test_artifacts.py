"""Artifacts of an unmodified wandb client."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_artifacts_have_versions_and_aliases_and_come_back(place):
    found = place.python(
        """
        import pathlib
        pathlib.Path("data").mkdir(exist_ok=True)
        said = {}
        def write(run, text, **more):
            pathlib.Path("data/a b.txt").write_text(text)
            pathlib.Path("data/same.bin").write_bytes(bytes(range(256)))
            made = wandb.Artifact("c", type="dataset", description="d", metadata={"k": [1]})
            made.add_dir("data")
            far = pathlib.Path("far.txt").resolve()
            far.write_text("afar")
            made.add_reference(far.as_uri(), name="far")
            return run.log_artifact(made, **more).wait()
        with wandb.init(project="art", id="maker") as run:
            said["first"] = write(run, "one").name
            said["second"] = write(run, "two", aliases=["latest", "best"]).name
            said["again"] = write(run, "one").name
            try:
                run.log_artifact(wandb.Artifact("c", type="model")).wait()
            except Exception as error:
                said["refused"] = str(error)
            run.log({"table": wandb.Table(columns=["x"], data=[[1], [2]])})
        with wandb.init(project="art", id="user") as run:
            used = run.use_artifact("c:best")
            said["used"] = [used.version, used.type, used.metadata, used.description]
            folder = pathlib.Path(used.download(root="down"))
            said["text"] = (folder / "a b.txt").read_text() + (folder / "far").read_text()
        api = wandb.Api()
        for name in ("c:latest", "c:v1", "c"):
            art = api.artifact(f"local/art/{name}")
            said[name] = [art.version, sorted(art.aliases), art.size, len(art.manifest.entries)]
        said["entry"] = pathlib.Path(
            api.artifact("art/c:v0").get_entry("a b.txt").download(root="down0")).read_text()
        said["logged"] = sorted(a.name for a in api.run("local/art/maker").logged_artifacts())
        said["inputs"] = [a.version for a in api.run("local/art/user").used_artifacts()]
        answer(said)
        """
    )
    assert (found["first"], found["second"], found["again"]) == ("c:v0", "c:v1", "c:v0")
    assert found["used"] == ["v1", "dataset", {"k": [1]}, "d"]
    assert (found["text"], found["entry"]) == ("twoafar", "one")
    assert found["c:latest"][:2] == ["v0", ["latest"]], "the same content is the same version"
    assert found["c:v1"] == ["v1", ["best"], 263, 3]
    assert found["c"][0] == "v0"
    assert "type" in found["refused"]
    assert {"c:v0", "c:v1"} <= set(found["logged"])
    assert found["inputs"] == ["v1"]
    assert place.backend.run("maker").state == "finished"
