"""What clients of earlier versions (0.25 and before) ask of the schema before they use a field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tune_bridge.server.wandb.execute import Call

__all__ = ["Types"]

_FIELDS: dict[str, str] = {
    "ServerInfo": "features cliVersionInfo latestLocalVersionInfo exposesExplicitRunQueueAckPath",
    "Project": (
        "id internalId name entityName entity createdAt readOnly runCount runs run bucket sweep "
        "sweeps totalSweeps artifact artifactType artifactTypes artifactCollection "
        "artifactCollections artifactCollectionMembership"
    ),
    "Run": (
        "id projectId name displayName sweepName state group jobType commit readOnly createdAt "
        "heartbeatAt description notes config summaryMetrics historyKeys historyLineCount tags "
        "user files outputArtifacts inputArtifacts"
    ),
    "Artifact": (
        "id artifactSequence artifactType versionIndex description metadata ttlDurationSeconds "
        "ttlIsInherited tags historyStep state size digest commitHash fileCount createdAt "
        "updatedAt aliases currentManifest files usedBy createdBy"
    ),
}
_INPUTS: dict[str, str] = {
    "CreateArtifactInput": (
        "entityName projectName runName description artifactCollectionName artifactCollectionNames "
        "artifactTypeName digest digestAlgorithm aliases metadata historyStep distributedID "
        "clientID sequenceClientID enableDigestDeduplication"
    ),
    "CreateArtifactFileSpecInput": "artifactID name md5 mimetype artifactManifestID",
    "UseArtifactInput": "entityName projectName runName artifactID usedAs",
    "DeleteFilesInput": "files",
}


class Types:
    """The types of the schema, as far as clients ask for them.

    Args:
        operations: Names of queries and mutations.
    """

    def __init__(self, operations: Iterable[str]) -> None:
        names = " ".join(sorted(operations))
        self._fields = {**_FIELDS, "Query": names, "Mutation": names}

    def one(self, call: Call) -> dict[str, Any]:
        """A type; one that nobody has heard of has no fields."""
        name = str(call.get("name", ""))
        return {
            "name": name,
            "fields": _named(self._fields.get(name, "")),
            "inputFields": _named(_INPUTS.get(name, "")),
        }


def _named(names: str) -> list[dict[str, Any]]:
    return [{"name": name, "args": []} for name in names.split()]
