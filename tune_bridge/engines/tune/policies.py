"""Policies of populations: which configuration a run had when, as Ray writes and replays them.

Ray writes a line to ``pbt_policy_<trial>.txt`` at each exploit: the names of the run and its donor,
their steps, the donor's configuration and the new one; the donor's own lines come before it.
`policy` makes the same text of the `Exploit` actions of a sweep; PopulationBasedTrainingReplay
takes it, as text or as a file of Ray's or of ours.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tune_bridge.engines.base import Checkpoint, Exploit

__all__ = ["as_file", "exploits", "policies", "policy"]


def exploits(events: Iterable[Mapping[str, Any]]) -> list[Exploit]:
    """The exploits that a sweep's log tells of, in order: of agents, and of Ray's experiments."""
    found = []
    for event in events:
        for did in event.get("did", ()):
            if did.get("action") == "exploit" and did.get("donor"):
                info = did.get("info", {})
                step = int(info.get("steps", [0, 0])[1])
                state = Checkpoint("", did["donor"], step)
                told = {name: did.get(name, {}) for name in ("old", "new", "info")}
                reason = str(did.get("reason", ""))
                found.append(Exploit(did["run"], did["donor"], state, reason=reason, **told))
    return found


def policies(exploits: Iterable[Exploit]) -> dict[str, str]:
    """The policy of each run that ever copied another, by run.

    Args:
        exploits: Those of one sweep, in order.

    Returns:
        Texts as in Ray's ``pbt_policy_*.txt``: a JSON list per line.
    """
    lines: dict[str, list[str]] = {}
    for action in exploits:
        if "steps" not in action.info:
            continue  # a replay has no policy of its own
        step, donor_step = action.info["steps"]
        entry = [
            action.run,
            action.donor,
            step,
            donor_step,
            action.info["donor_config"],
            action.new,
        ]
        before = lines.get(action.donor, lines.get(action.run, []))
        lines[action.run] = [*before, json.dumps(entry)]
    return {run: "".join(f"{line}\n" for line in told) for run, told in lines.items()}


def policy(exploits: Iterable[Exploit], run: str) -> str:
    """The policy of one run; empty when it never copied another."""
    return policies(exploits).get(run, "")


def as_file(value: Any, folder: str) -> Any:
    """A policy's text as a file of a folder, for Ray; a path stays what it is."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="pbt_policy_", suffix=".txt", dir=folder, delete=False
    ) as file:
        file.write(value)
    return str(Path(file.name))
