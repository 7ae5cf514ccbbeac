"""Recording functions for Ray's classes, and the modules that hold them, made from the tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from tune_bridge.dialects.calls import Call, recorder
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES

__all__ = ["add_modules", "class_recorder"]


def class_recorder(name: str) -> Callable[..., Call]:
    """Records a searcher, a scheduler or a stopper, with the arguments of old versions as well.

    Ray 0.7 had ``reward_attr``, which is a metric to maximize; searchers up to Ray 1.x had
    ``max_concurrent``, which today is a ConcurrencyLimiter around them.
    """
    signature = SIGNATURES[name]
    known = signature.signature.parameters
    limits = "space" in known and "max_concurrent" not in known

    def record(*args: Any, **kwargs: Any) -> Call:
        if "reward_attr" in kwargs and "metric" in known:
            kwargs |= {"metric": kwargs.pop("reward_attr"), "mode": "max"}
        limit = kwargs.pop("max_concurrent", None) if limits else None
        if limits:
            kwargs.pop("use_early_stopped_trials", None)
        call = signature.call(*args, **kwargs)
        limiter = SIGNATURES["ConcurrencyLimiter"]
        return call if limit is None else limiter.call(call, limit)

    made = recorder(signature)
    record.__name__ = record.__qualname__ = name
    record.__doc__ = made.__doc__
    record.__signature__ = signature.signature  # type: ignore[attr-defined]
    return record


def add_modules(package: str, ray: str, modules: Mapping[str, tuple[str, ...]]) -> None:
    """Adds modules of recording functions below a package, so that they can be imported.

    Args:
        package: The package's name.
        ray: The package of Ray that it stands for.
        modules: Module -> names in it.
    """
    holder = sys.modules[package]
    for name, names in modules.items():
        module = ModuleType(f"{package}.{name}", f"The names of ``{ray}.{name}``, recorded.")
        vars(module).update({item: class_recorder(item) for item in names})
        vars(module)["__all__"] = list(names)
        sys.modules[module.__name__] = module
        setattr(holder, name, module)
