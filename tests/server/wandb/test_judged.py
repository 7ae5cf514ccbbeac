"""What the public API of the real client does beyond the usual: states, accounts, odd files."""

from __future__ import annotations

import pytest

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
