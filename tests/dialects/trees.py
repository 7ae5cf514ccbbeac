"""Builds the trees of ``tests/cases/*.json`` from recording twins or from the real libraries."""

from __future__ import annotations

import importlib
from typing import Any


class _Opaque:
    """An object of some author's program."""


class Builder:
    """Makes the objects that an entry of the corpus describes; see ``tests/cases/README.md``.

    Args:
        root: "tune_bridge" for recorded calls, or "" for live objects of Ray and HyperOpt.
    """

    def __init__(self, root: str = "tune_bridge") -> None:
        self.live = not root
        prefix = f"{root}." if root else ""
        tune = "tune_bridge.tune" if root else "ray.tune"
        self.hp = importlib.import_module(f"{prefix}hyperopt").hp
        self.scope = importlib.import_module(f"{prefix}hyperopt.pyll").scope
        self.tune = importlib.import_module(tune)
        self._shared: dict[int, Any] = {}

    def make(self, tree: Any) -> Any:
        if isinstance(tree, list):
            return [self.make(item) for item in tree]
        if "ref" in tree:
            return self._shared[tree["ref"]]
        if "opaque" in tree and "tune" not in tree:
            return _Opaque()
        kind = next(k for k in tree if k not in ("id", "label", "args", "kwargs", "opaque"))
        value = getattr(self, f"_{kind}")(tree)
        if "id" in tree:
            self._shared[tree["id"]] = value
        return value

    def _args(self, tree: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        args = [self.make(arg) for arg in tree.get("args", ())]
        return args, {name: self.make(arg) for name, arg in tree.get("kwargs", {}).items()}

    def _hp(self, tree: dict[str, Any]) -> Any:
        function = getattr(self.hp, tree["hp"])
        if tree["hp"] == "choice":
            return function(tree["label"], [self.make(arg) for arg in tree["args"]])
        if tree["hp"] == "pchoice":
            return function(tree["label"], [(p, self.make(arg)) for p, arg in tree["args"]])
        args, kwargs = self._args(tree)
        return function(tree["label"], *args, **kwargs)

    def _scope(self, tree: dict[str, Any]) -> Any:
        args, kwargs = self._args(tree)
        if self.live:
            from hyperopt.pyll.base import Apply, as_apply

            named = sorted((name, as_apply(arg)) for name, arg in kwargs.items())
            return Apply(tree["scope"], [as_apply(arg) for arg in args], named)
        return getattr(self.scope, tree["scope"])(*args, **kwargs)

    def _tune(self, tree: dict[str, Any]) -> Any:
        if tree["tune"] == "sample_from":
            return self.tune.sample_from(lambda config: 1)
        args, kwargs = self._args(tree)
        return getattr(self.tune, tree["tune"])(*args, **kwargs)

    def _hyperopt(self, tree: dict[str, Any]) -> Any:
        return self.make(tree["hyperopt"])

    def _dict(self, tree: dict[str, Any]) -> Any:
        return {name: self.make(item) for name, item in tree["dict"].items()}

    def _items(self, tree: dict[str, Any]) -> Any:
        return {self.make(key): self.make(item) for key, item in tree["items"]}

    def _list(self, tree: dict[str, Any]) -> Any:
        return [self.make(item) for item in tree["list"]]

    def _tuple(self, tree: dict[str, Any]) -> Any:
        return tuple(self.make(item) for item in tree["tuple"])

    def _const(self, tree: dict[str, Any]) -> Any:
        return tree["const"]

    def _float(self, tree: dict[str, Any]) -> Any:
        return float(tree["float"])

    def _array(self, tree: dict[str, Any]) -> Any:
        import numpy as np

        return np.array(tree["array"], dtype=tree["dtype"])
