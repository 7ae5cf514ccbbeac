"""What the public API of the real client does beyond the usual: states, accounts, odd files."""

from __future__ import annotations

import gzip

import httpx
import pytest

from tests.server.wandb.conftest import KEY

pytestmark = pytest.mark.slow


def test_states_that_a_user_gives_a_run(place):
    found = place.python(
        """
        api = wandb.Api()
        made = api.create_run(project="states", run_id="given")
        states, refused = [made.state], []
        for state in ("failed", "pending", "failed"):
            made.update_state(state)
            states.append(wandb.Api().run("local/states/given").state)
        for state in ("failed", "finished"):
            try:
                made.update_state(state)
            except wandb.Error as error:
                refused.append(str(error))
        made.update_state("pending")
        with wandb.init(project="states", id="given", resume="allow") as run:
            run.log({"a": 1})
            states.append(wandb.Api().run("local/states/given").state)
        answer({"states": states, "refused": refused})
        """
    )
    assert found["states"] == ["running", "failed", "pending", "failed", "running"]
    assert len(found["refused"]) == 2
    assert all("invalid state transition" in text for text in found["refused"])
    kept = place.backend.run("given")
    assert (kept.state, kept.rows) == ("finished", 1)


def test_there_are_no_accounts(place):
    found = place.python(
        """
        api = wandb.Api()
        team = api.team("anybody")
        try:
            api.organization("acme")
        except Exception as error:
            answer([team.name, [str(member) for member in team.members], str(error)])
        """
    )
    assert found[:2] == ["anybody", ["<Member local (USER)>"]]
    assert "this server does not know" not in found[2]


def test_what_a_new_sweep_says_of_itself(place):
    found = place.python(
        """
        with wandb.init(project="fresh", id="before") as run:
            run.log({"loss": 1})
        metric = {"name": "loss"}
        grid = {"a": {"values": [1, 2, 3]}, "b": {"parameters": {"c": {"values": [4, 5]}}}}
        free = {"a": {"min": 0.0, "max": 1.0}}
        made = {
            name: wandb.sweep({**config, "metric": metric}, project="fresh", prior_runs=["before"])
            for name, config in {
                "grid": {"method": "grid", "parameters": grid},
                "capped": {"method": "grid", "parameters": grid, "run_cap": 4},
                "free": {"method": "random", "parameters": free},
            }.items()
        }
        api = wandb.Api()
        sweeps = {name: api.sweep(f"local/fresh/{id}") for name, id in made.items()}
        with wandb.init(settings=wandb.Settings(sweep_id=made["free"])) as run:
            run.log({"loss": 2})
        answer({
            "ids": made,
            "states": [sweep.state for sweep in sweeps.values()],
            "expected": {name: sweep.expected_run_count for name, sweep in sweeps.items()},
            "later": wandb.Api().sweep(f"local/fresh/{made['free']}").state,
        })
        """
    )
    assert found["states"] == ["PENDING"] * 3
    assert found["expected"] == {"grid": 6, "capped": 4, "free": None}
    assert found["later"] == "RUNNING"
    query = """query { project(name: "fresh") { sweep(sweepName: "%s") {
        priorRuns { edges { node { name } } } } } }"""
    asked = {"query": query % found["ids"]["grid"]}
    answer = httpx.post(f"{place.url}/graphql", json=asked, auth=("api", KEY))
    prior = answer.json()["data"]["project"]["sweep"]["priorRuns"]["edges"]
    assert [edge["node"]["name"] for edge in prior] == ["before"]


def test_rows_may_come_compressed(place):
    place.python(
        """
        settings = wandb.Settings(x_file_stream_no_gzip=False)
        with wandb.init(project="packed", id="packed", settings=settings) as run:
            for i in range(3):
                run.log({"a": i})
        """
    )
    assert [row.values["a"] for row in place.backend.history("packed")] == [0, 1, 2]
    address = f"{place.url}/files/local/packed/packed/file_stream"
    for body, status in (
        (gzip.compress(b"{}"), 200),
        (gzip.compress(b"{}")[:-9], 422),
        (b"{}", 422),
        (gzip.compress(b'{"a": "' + b" " * (1 << 27) + b'"}'), 413),
    ):
        headers = {"Content-Encoding": "gzip"}
        assert httpx.post(address, content=body, headers=headers).status_code == status


def test_files_of_artifacts_lie_here_and_elsewhere(place):
    made = place.python(
        """
        with wandb.init(project="odd", id="one") as run:
            art = wandb.Artifact("near", type="data", storage_region="default")
            with art.new_file("in/text.txt") as file:
                file.write("near")
            run.log_artifact(art, tags=["gold", "new"]).wait()
        with wandb.init(project="odd", id="two") as run:
            far = wandb.Artifact("far", type="data")
            far.add_reference(run.use_artifact("near:latest").get_entry("in/text.txt"), "out.txt")
            run.log_artifact(far).wait()
        api = wandb.Api()
        api.run("local/odd/two").log_artifact(api.artifact("local/odd/near:v0"))
        refused = []
        with wandb.init(project="odd") as run:
            art = wandb.Artifact("region", type="data", storage_region="the-moon")
            try:
                run.log_artifact(art).wait()
            except ValueError as error:
                refused.append(str(error))
        answer(refused)
        """
    )
    assert "the-moon" in made[0]
    found = place.python(
        """
        import pathlib
        api = wandb.Api()
        near, far = api.artifact("local/odd/near:v0"), api.artifact("local/odd/far:v0")
        entry = pathlib.Path(near.get_entry("in/text.txt").download(root="odd1"))
        whole = pathlib.Path(far.download(root="odd2"))
        files = [(f.name, f.size) for art in (near, far) for f in art.files()]
        logged = sorted(a.name for a in api.run("local/odd/two").logged_artifacts())
        near.delete(delete_aliases=True)
        answer({
            "entry": entry.read_text(), "far": (whole / "out.txt").read_text(), "files": files,
            "tags": near.tags, "count": len(far.files()), "logged": logged,
        })
        """,
        WANDB_CACHE_DIR=str(place.folder / "empty"),
    )
    assert (found["entry"], found["far"]) == ("near", "near")
    assert found["files"] == [["in/text.txt", 4], ["out.txt", 0]]
    assert (sorted(found["tags"]), found["count"]) == (["gold", "new"], 1)
    assert found["logged"] == ["far:v0", "near:v0"]
    digest = "0" * 32
    for rest, status in (("", 404), (f"x/{digest}/n", 404), ("..%2F..%2Fsweeps.db/n", 404)):
        address = f"{place.url}/artifactsV2/default/local/odd/near/{rest}"
        assert httpx.get(address).status_code == status


def test_a_collection_is_renamed_and_changed_at_once(place):
    found = place.python(
        """
        with wandb.init(project="named", id="namer") as run:
            run.log_artifact(wandb.Artifact("old", "data")).wait()
        collection = wandb.Api().artifact_collection("data", "local/named/old")
        collection.name, collection.type, collection.tags = "new", "other", ["gold"]
        collection.description = "told"
        collection.save()
        now = wandb.Api().artifact("local/named/new:latest").collection
        answer([now.name, now.type, now.description, list(now.tags)])
        """
    )
    assert found == ["new", "other", "told", ["gold"]]
