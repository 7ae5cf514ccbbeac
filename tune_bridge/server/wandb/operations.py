"""The table of operations: root field -> what does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_bridge.server.wandb.agents import Agents
from tune_bridge.server.wandb.artifacts import Artifacts
from tune_bridge.server.wandb.execute import Call
from tune_bridge.server.wandb.home import ENTITY
from tune_bridge.server.wandb.runs import USER, Runs, entity_node
from tune_bridge.server.wandb.steering import Steering
from tune_bridge.server.wandb.sweeps import Sweeps
from tune_bridge.server.wandb.types import Types

__all__ = ["operations"]


def operations(
    runs: Runs, sweeps: Sweeps, agents: Agents, artifacts: Artifacts, steering: Steering
) -> dict[str, Callable[[Call], Any]]:
    """Queries and mutations by their root fields."""
    table: dict[str, Callable[[Call], Any]] = {
        "viewer": _viewer,
        "serverInfo": _server,
        "entity": _entity,
        "organization": lambda call: None,
        "project": sweeps.project,
        "model": sweeps.project,
        "models": sweeps.projects,
        "projects": sweeps.projects,
        "upsertModel": sweeps.upsert_project,
        "upsertSweep": sweeps.upsert,
        "enqueueSweepRun": steering.enqueue,
        "createAgent": agents.create,
        "agentHeartbeat": agents.heartbeat,
        "upsertBucket": runs.upsert,
        "updateRunState": runs.update_state,
        "stopRun": runs.stop,
        "deleteRun": runs.delete,
        "createRunFiles": runs.create_files,
        "deleteFiles": runs.delete_files,
        "notifyScriptableRunAlert": runs.alert,
        **artifacts.operations,
    }
    return {**table, "__type": Types(table).one}


def _entity(call: Call) -> dict[str, Any]:
    """An entity is a name alone; as a team it has the one user that there is."""
    member = {**USER, "admin": False, "pending": False, "accountType": "USER"}
    return {
        **entity_node(str(call.get("name") or ENTITY)),
        "isTeam": False,
        "entityType": "user",
        "available": False,
        "readOnly": False,
        "readOnlyAdmin": False,
        "privateOnly": False,
        "isPaid": False,
        "codeSavingEnabled": True,
        "defaultAccess": "PROJECT_WRITE",
        "storageBytes": 0,
        "members": [member],
    }


def _viewer(call: Call) -> dict[str, Any]:
    return {
        **USER,
        "__typename": "User",
        "flags": "{}",
        "admin": False,
        "teams": {"edges": []},
        "apiKeys": {"edges": []},
    }


FEATURES = (
    "ARTIFACT_COLLECTIONS_FILTERING_SORTING",
    "ARTIFACT_TAGS",
    "FILESTREAM_GZIP",
    "SWEEPS_LOCAL_SCHEDULER",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
)
"""What the client may do beyond the least; all else is off."""


def _server(call: Call) -> dict[str, Any]:
    """The features of the server."""
    return {
        "features": [{"name": name, "isEnabled": True} for name in FEATURES],
        "cliVersionInfo": {"max_cli_version": "9999"},
        "latestLocalVersionInfo": None,
        "exposesExplicitRunQueueAckPath": False,
    }
