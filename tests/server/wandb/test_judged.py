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


def test_there_are_no_organizations(place):
    found = place.python(
        """
        try:
            wandb.Api().organization("acme")
        except Exception as error:
            answer(str(error))
        """
    )
    assert "this server does not know" not in found


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
