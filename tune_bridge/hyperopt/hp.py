"""The functions of ``hyperopt.hp``, recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tune_bridge.dialects.calls import Call, recorder
from tune_bridge.dialects.hyperopt.signatures import SIGNATURES
from tune_bridge.errors import SpecError

__all__ = [
    "choice",
    "lognormal",
    "loguniform",
    "normal",
    "pchoice",
    "qlognormal",
    "qloguniform",
    "qnormal",
    "quniform",
    "randint",
    "uniform",
    "uniformint",
]


def _hp(name: str) -> Callable[..., Call]:
    """A recorder that asks for the label first, whose absence makes every other message wrong."""
    signature = SIGNATURES[f"hp.{name}"]
    record = recorder(signature)

    def labelled(*args: Any, **kwargs: Any) -> Call:
        label = args[0] if args else kwargs.get("label", inspect.Parameter.empty)
        if not isinstance(label, str | bytes):
            names = ", ".join(list(signature.signature.parameters)[1:])
            raise SpecError(
                f"hp.{name} needs a label",
                path=f"hp.{name}",
                found="none" if label is inspect.Parameter.empty else repr(label),
                expected=f'hp.{name}("name", {names})',
            )
        return record(*args, **kwargs)

    labelled.__name__ = labelled.__qualname__ = name
    labelled.__doc__ = record.__doc__
    labelled.__signature__ = signature.signature  # type: ignore[attr-defined]
    return labelled


choice = _hp("choice")
pchoice = _hp("pchoice")
randint = _hp("randint")
uniform = _hp("uniform")
quniform = _hp("quniform")
uniformint = _hp("uniformint")
loguniform = _hp("loguniform")
qloguniform = _hp("qloguniform")
normal = _hp("normal")
qnormal = _hp("qnormal")
lognormal = _hp("lognormal")
qlognormal = _hp("qlognormal")
