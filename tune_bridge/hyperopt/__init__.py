"""The names of HyperOpt, recorded: ``hp``, ``pyll.scope``, ``fmin`` and its algorithms.

    from tune_bridge.hyperopt import hp

    space = {"lr": hp.loguniform("lr", -9, -2), "layers": hp.choice("layers", [1, 2])}

Nothing is drawn and HyperOpt is not loaded.
"""

from __future__ import annotations

from typing import Any

from tune_bridge.dialects.calls import Call, Signature, recorder
from tune_bridge.dialects.hyperopt.signatures import SIGNATURES
from tune_bridge.hyperopt import hp, pyll

__all__ = ["fmin", "hp", "pyll", "rand", "tpe"]

fmin = recorder(
    SIGNATURES["fmin"], "Records a call of ``fmin``; the dialect hyperopt reads it. Nothing is run."
)


class _Suggest(Signature):
    """The function that names an algorithm; ``functools.partial`` takes callables only."""

    def __call__(self, *args: Any, **kwargs: Any) -> Call:
        """Records a call of it."""
        return self.call(*args, **kwargs)


class _Algorithm:
    """A module of HyperOpt with a `suggest` that names its algorithm."""

    def __init__(self, name: str) -> None:
        known = SIGNATURES[f"{name}.suggest"]
        self.suggest = _Suggest(known.name, known.module, known.parameters)


tpe = _Algorithm("tpe")
rand = _Algorithm("rand")
