"""Agents: they fetch runs from a server, run them, and report.

An agent needs HTTP and nothing heavy: neither Ray nor a searcher is loaded here.
"""

from __future__ import annotations

from tune_bridge.agents.agent import Agent, Done
from tune_bridge.agents.http import Server, UnreachableError

__all__ = ["Agent", "Done", "Server", "UnreachableError"]
