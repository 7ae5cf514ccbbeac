"""Ray Tune's functions and classes: signatures of Ray 2.60, without its private parameters."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from tune_bridge.dialects.calls import Signature, parse_signatures
from tune_bridge.dialects.ray_tune.tables import CALLS, CLASSES
from tune_bridge.space import Integers, Normal, Uniform

__all__ = ["DOMAINS", "OWN", "SIGNATURES", "DomainRow", "OwnSignature"]


class DomainRow(NamedTuple):
    """One function of ``ray.tune`` that makes a domain with a law.

    Attributes:
        name: ``quniform``.
        parameters: Its parameters.
        kind: The distribution that it stands for.
        scale: "linear" or "log".
        names: The distribution's name of each parameter.
    """

    name: str
    parameters: str
    kind: type[Uniform | Normal | Integers]
    scale: str
    names: dict[str, str]

    @property
    def quantized(self) -> bool:
        """Whether it takes a quantum."""
        return "q" in self.names


_BOUNDS = {"lower": "low", "upper": "high"}
_MOMENTS = {"mean": "mu", "sd": "sigma"}
_Q = {"q": "q"}

DOMAINS = (
    DomainRow("uniform", "lower, upper", Uniform, "linear", _BOUNDS),
    DomainRow("quniform", "lower, upper, q", Uniform, "linear", _BOUNDS | _Q),
    DomainRow("loguniform", "lower, upper, base=None", Uniform, "log", _BOUNDS),
    DomainRow("qloguniform", "lower, upper, q, base=None", Uniform, "log", _BOUNDS | _Q),
    DomainRow("randn", "mean=0.0, sd=1.0", Normal, "linear", _MOMENTS),
    DomainRow("qrandn", "mean, sd, q", Normal, "linear", _MOMENTS | _Q),
    DomainRow("randint", "lower, upper", Integers, "linear", _BOUNDS),
    DomainRow("qrandint", "lower, upper, q=1", Integers, "linear", _BOUNDS | _Q),
    DomainRow("lograndint", "lower, upper, base=None", Integers, "log", _BOUNDS),
    DomainRow("qlograndint", "lower, upper, q, base=None", Integers, "log", _BOUNDS | _Q),
)

_DOMAIN_LINES = "\n".join(f"{row.name}({row.parameters})" for row in DOMAINS)


class OwnSignature(Signature):
    """A function of `tune_bridge.tune.domains`, which makes a live domain where Ray is loaded."""

    def resolve(self) -> Any:
        """The function, with Ray loaded.

        Raises:
            ImportError: Ray is not installed.
        """
        importlib.import_module("ray.tune")
        return super().resolve()


OWN: dict[str, Signature] = {
    name: OwnSignature(signature.name, signature.module, signature.parameters)
    for name, signature in parse_signatures(
        "tune_bridge.tune",
        """
        uniform(low, high, scale='linear', q=None, integer=False, exponents=False)
        normal(mu=0.0, sigma=1.0, scale='linear', q=None, integer=False)
        beta(a=1.0, b=1.0, q=None, integer=False)
        integers(low, high, step=1, log=False)
        choice(options, weights=None)
        operation(function, /, *args, **kwargs)
        """,
        prefix="domains",
    ).items()
}
"""Laws that ``ray.tune`` has no function for; the parameters are those of the space's classes."""

SIGNATURES: dict[str, Signature] = {
    **parse_signatures(
        "ray",
        f"""
        {_DOMAIN_LINES}
        choice(categories)
        grid_search(values)
        sample_from(func)
        """,
        prefix="tune",
    ),
    **{
        name: Signature(name, table.module, table.parameters)
        for name, table in (CALLS | CLASSES).items()
    },
}
"""Signature by name, as people write it: ``tune.uniform``, ``HyperOptSearch``."""
