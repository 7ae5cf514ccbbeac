"""The part of ``hyperopt.pyll`` that spaces use: ``scope``, recorded."""

from __future__ import annotations

from collections.abc import Callable

from tune_bridge.dialects.calls import Call, recorder
from tune_bridge.dialects.hyperopt import signatures

__all__ = ["scope"]


class _Scope:
    """Operations by name: ``scope.int(...)``; those that no reader knows are recorded as well."""

    def __getattr__(self, name: str) -> Callable[..., Call]:
        if name.startswith("__"):
            raise AttributeError(name)
        return recorder(signatures.scope(name))


scope = _Scope()
