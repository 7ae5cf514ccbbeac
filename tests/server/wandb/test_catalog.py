"""What people do with artifacts, by an unmodified client: change, link, list, delete."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

HEAD = """
import pathlib
def log(run, name, text, kind="dataset", aliases=None, **more):
    made = wandb.Artifact(name, type=kind, **more)
    with made.new_file("text.txt") as file:
        file.write(text)
    return run.log_artifact(made, aliases=aliases).wait()
"""


def test_versions_are_changed_listed_and_deleted(place):
    found = place.python(
        HEAD
        + """
with wandb.init(project="cat", id="maker") as run:
    for n in range(4):
        log(run, "data", f"v{n}", metadata={"n": n})
    log(run, "model", "weights", kind="model")
with wandb.init(project="cat", id="user") as run:
    run.use_artifact("data:v1")
api, said = wandb.Api(), {}
one = api.artifact("local/cat/data:v1")
one.aliases.append("best")
one.metadata["k"] = [1, None]
one.description = "told"
one.tags = ["gold"]
one.save()
one = wandb.Api().artifact("local/cat/data:best")
said["changed"] = [one.version, one.metadata, one.description, one.tags, list(one.aliases)]
one.aliases.remove("best")
one.save()
said["aliases"] = wandb.Api().artifact("local/cat/data:v1").aliases
by = one.logged_by()
said["by"] = [by.id, [run.id for run in one.used_by()]]
said["versions"] = [a.version for a in api.artifacts("dataset", "local/cat/data")]
said["tagged"] = [a.version for a in api.artifacts("dataset", "local/cat/data", tags=["gold"])]
said["types"] = sorted(t.name for t in api.artifact_types("local/cat"))
said["collections"] = [c.name for c in api.artifact_collections("local/cat", "dataset")]
said["exists"] = [api.artifact_exists(f"local/cat/data:{a}") for a in ("v1", "v9")]
said["there"] = [api.artifact_collection_exists(f"local/cat/{n}", "dataset") for n in ("data", "x")]
last = api.artifact("local/cat/data:latest")
try:
    last.delete()
except Exception as error:
    said["refused"] = str(error)
last.delete(delete_aliases=True)
said["latest"] = wandb.Api().artifact("local/cat/data:latest").version
api.artifact("local/cat/data:v0").delete()
with wandb.init(project="cat") as run:
    said["next"] = log(run, "data", "new").version
data = api.artifact_collection("dataset", "local/cat/data")
data.description, data.name = "all of it", "renamed"
data.tags = ["t"]
data.save()
data = wandb.Api().artifact_collection("dataset", "local/cat/renamed")
said["renamed"] = [data.description, data.tags, sorted(data.aliases),
                   [a.version for a in data.artifacts()]]
data.delete()
said["deleted"] = [c.name for c in wandb.Api().artifact_collections("local/cat", "dataset")]
wandb.Api().run("local/cat/maker").delete(delete_artifacts=True)
said["gone"] = wandb.Api().artifact_exists("local/cat/model:v0")
answer(said)
"""
    )
    assert found["changed"] == ["v1", {"n": 1, "k": [1, None]}, "told", ["gold"], ["best"]]
    assert found["aliases"] == []
    assert found["by"] == ["maker", ["user"]]
    assert (found["versions"], found["tagged"]) == (["v3", "v2", "v1", "v0"], ["v1"])
    assert (found["types"], found["collections"]) == (["dataset", "model"], ["data"])
    assert (found["exists"], found["there"]) == ([True, False], [True, False])
    assert "delete_aliases=True" in found["refused"]
    assert (found["latest"], found["next"]) == ("v2", "v4"), "a number is given once"
    assert found["renamed"] == ["all of it", ["t"], ["latest"], ["v4", "v2", "v1"]]
    assert (found["deleted"], found["gone"]) == ([], False)
    kept = list((place.folder / "store/wandb/files/artifacts").rglob("*.*"))
    assert kept == [], "no file is left of what was deleted"


def test_versions_are_linked_to_other_collections(place):
    found = place.python(
        HEAD
        + """
said = {}
with wandb.init(project="linked") as run:
    first = log(run, "weights", "one", kind="model")
    second = log(run, "weights", "two", kind="model")
    run.link_artifact(first, "local/linked/shown", aliases=["good"])
    run.link_artifact(second, "local/linked/shown")
    try:
        run.link_artifact(log(run, "other", "three"), "local/linked/shown")
        said["refused"] = ""
    except Exception as error:
        said["refused"] = str(error)
    there = second.link("wandb-registry-model/mine", aliases=["prod"])
    said["registry"] = [there.entity, there.project, there.name, there.is_link, there.source_name]
api = wandb.Api()
for name in ("local/linked/shown:good", "local/linked/shown", "wandb-registry-model/mine:prod"):
    art = api.artifact(name)
    text = (pathlib.Path(art.download(root="linked-down")) / "text.txt").read_text()
    said[name] = [art.version, sorted(art.aliases), text, art.source_version]
said["where"] = sorted(a.name for a in api.artifact("local/linked/weights:v1").linked_artifacts)
with wandb.init(project="elsewhere", id="uses") as run:
    run.use_artifact("local/linked/shown:good")
said["inputs"] = [a.source_version for a in api.run("local/elsewhere/uses").used_artifacts()]
api.artifact("local/linked/shown:latest").unlink()
shown = api.artifact_collection("model", "local/linked/shown")
said["after"] = [a.version for a in shown.artifacts()]
api.artifact("local/linked/weights:v0").delete(delete_aliases=True)
said["rest"] = [a.version for a in wandb.Api().artifacts("model", "local/linked/shown")]
said["exists"] = wandb.Api().artifact_exists("local/linked/weights:v1")
answer(said)
"""
    )
    assert "another type" in found["refused"]
    assert found["registry"] == ["local", "wandb-registry-model", "mine:v0", True, "weights:v1"]
    assert found["local/linked/shown:good"] == ["v0", ["good"], "one", "v0"]
    assert found["local/linked/shown"] == ["v1", ["latest"], "two", "v1"]
    assert found["wandb-registry-model/mine:prod"] == ["v0", ["latest", "prod"], "two", "v1"]
    assert found["where"] == ["mine:v0", "shown:v1"]
    assert found["inputs"] == ["v0"]
    assert (found["after"], found["rest"], found["exists"]) == (["v0"], [], True)


def test_versions_in_pieces(place):
    found = place.python(
        HEAD
        + """
said = {}
with wandb.init(project="pieces") as run:
    log(run, "data", "one")
    more = wandb.Artifact("data", type="dataset", incremental=True)
    with more.new_file("more.txt") as file:
        file.write("two")
    more.add_reference("http://127.0.0.1:1/far", name="far", checksum=False)
    said["version"] = run.log_artifact(more).wait().version
for rank in range(2):
    with wandb.init(project="pieces", group="g") as run:
        part = wandb.Artifact("shared", type="dataset")
        with part.new_file(f"part-{rank}.txt") as file:
            file.write(str(rank))
        run.upsert_artifact(part)
with wandb.init(project="pieces", group="g") as run:
    part = wandb.Artifact("shared", type="dataset")
    with part.new_file("last.txt") as file:
        file.write("last")
    run.finish_artifact(part)
api = wandb.Api()
whole = api.artifact("local/pieces/data:latest")
said["files"] = sorted(whole.manifest.entries)
said["text"] = pathlib.Path(whole.get_entry("text.txt").download("pieces-down")).read_text()
said["ref"] = whole.get_entry("far").ref
said["shared"] = sorted(api.artifact("local/pieces/shared:latest").manifest.entries)
answer(said)
"""
    )
    assert (found["version"], found["files"]) == ("v1", ["far", "more.txt", "text.txt"])
    assert found["text"] == "one"
    assert found["ref"] == "http://127.0.0.1:1/far"
    assert found["shared"] == ["last.txt", "part-0.txt", "part-1.txt"]
