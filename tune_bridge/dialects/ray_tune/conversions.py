"""What Ray's searchers make of a config's domains: one table per searcher.

A searcher that is given the space by ``tune.run(config=...)`` converts it by its own
``convert_search_space``, which knows some of Tune's domains, drops the scale or the quantum of
others, and refuses the rest. Measured with Ray 2.60 by converting and drawing each of them; a test
does so again for the searchers that are installed.

Searchers that learn draw by laws of their own anyway; a table names what changes the values that
can come, and for HyperOpt and Optuna, which begin with draws from the space, the law.

A table has lines ``domains | level | what happens``; domains that no line names are taken as they
are. "other domains" are those of `tune_bridge.tune.domains`, for laws that ``ray.tune`` has no
function for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tune_bridge.notes import Level
from tune_bridge.space import Choice, Node

__all__ = ["CONVERSIONS", "DOMAINS", "EXACT", "Conversion", "conversion", "domain_of"]

DOMAINS = (
    "uniform", "quniform", "loguniform", "qloguniform", "randn", "qrandn",
    "randint", "qrandint", "lograndint", "qlograndint",
    "choice", "choice of mixed types", "choice of mappings", "choice of lists",
    "grid_search", "other domains",
)  # fmt: skip
"""What a config can hold, as far as searchers tell it apart."""


class Conversion(NamedTuple):
    """What a searcher makes of a domain.

    Attributes:
        level: `Level.EXACT`, `Level.APPROXIMATED`, or `Level.LOST` where it raises an error or
            proposes what nobody asked for.
        what: In words; empty where nothing changes.
    """

    level: Level
    what: str


EXACT = Conversion(Level.EXACT, "")
_WORDS = {"near": Level.APPROXIMATED, "refused": Level.LOST, "wrong": Level.LOST}

_NO_STEP = (
    "quniform, qloguniform | near | the quantum is dropped: values between the multiples come"
)
_NO_INT_STEP = """
    qrandint | near | the quantum is dropped, and the upper bound is never proposed
    qlograndint | near | the quantum is dropped
"""
_NO_NORMAL = "randn, qrandn | refused | it has no normal distribution"
_NO_GRID = """
    grid_search | refused | only Ray's own generator enumerates; the searcher raises an error
    other domains | refused | it knows the functions of ray.tune only
"""
_NUMBERS = "choice, choice of mixed types, choice of mappings, choice of lists"

_TABLES = {
    "HyperOptSearch": """
        randint | near | hp.uniformint: rounded draws, so that both ends are half as likely
        qrandint | near | hp.quniform over one value less: the ends have other weights, and an \
upper bound that is a multiple of q is never proposed
        lograndint | near | rounded instead of floored, which moves weight from the lowest value up
        qlograndint | near | rounded draws on a log scale: other weights, most of all at the ends
        choice of lists | near | lists become tuples
        grid_search | refused | only Ray's own generator enumerates; the searcher raises an error
    """,
    "BayesOptSearch": f"""
        quniform | near | the quantum is dropped: values between the multiples come
        loguniform | near | the log scale is dropped: uniform between the bounds
        qloguniform | near | the log scale and the quantum are dropped: uniform between the bounds
        {_NO_NORMAL}
        randint, qrandint, lograndint, qlograndint | refused | it has floats only
        {_NUMBERS} | refused | it has floats only
        {_NO_GRID}
    """,
    "NevergradSearch": f"""
        {_NO_STEP}
        randn, qrandn | wrong | it proposes NaN
        {_NO_INT_STEP}
        {_NO_GRID}
    """,
    "AxSearch": f"""
        {_NO_STEP}
        {_NO_NORMAL}
        {_NO_INT_STEP}
        choice of mixed types, choice of mappings, choice of lists | refused | the options of a \
choice have to be of one plain type
        {_NO_GRID}
    """,
    "TuneBOHB": f"""
        {_NO_STEP}
        {_NO_NORMAL}
        {_NO_INT_STEP}
        {_NO_GRID}
    """,
    "OptunaSearch": f"""
        quniform | near | all multiples are equally likely; rounding gives the ends half the weight
        qloguniform | near | the quantum is dropped: values between the multiples come
        {_NO_NORMAL}
        lograndint | near | rounded instead of floored, which moves weight from the lowest value up
        qlograndint | refused | Optuna has no step on a log scale
        {_NO_GRID}
    """,
    "HEBOSearch": f"""
        {_NO_STEP}
        {_NO_NORMAL}
        {_NO_INT_STEP}
        choice of lists | refused | options have to be hashable
        {_NO_GRID}
    """,
    "ZOOptSearch": f"""
        loguniform, qloguniform, lograndint, qlograndint | refused | it has no log scale
        {_NO_NORMAL}
        qrandint | near | the quantum is dropped without a word
        choice of lists | refused | options have to be hashable
        {_NO_GRID}
    """,
    "SkOptSearch": f"{', '.join(DOMAINS)} | refused | Ray has dropped this searcher",
}


def _rows(text: str) -> dict[str, Conversion]:
    found: dict[str, Conversion] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        names, word, what = map(str.strip, line.split("|"))
        found |= {name.strip(): Conversion(_WORDS[word], what) for name in names.split(",")}
    return found


CONVERSIONS: dict[str, dict[str, Conversion]] = {
    name: _rows(text) for name, text in _TABLES.items()
}
"""Searcher -> domain -> what it makes of it; what is absent arrives as it is."""


def domain_of(function: str, node: Node) -> str:
    """Which of `DOMAINS` a node is that is written with `function`.

    Args:
        function: Name of the call: ``tune.uniform``, ``domains.beta``.
        node: What it was written from.
    """
    if not function.startswith("tune."):
        return "other domains"
    name = function.removeprefix("tune.")
    if name == "choice" and isinstance(node, Choice) and node.plain:
        return _options(node.values())
    return name


def _options(values: list[Any]) -> str:
    kinds = {float if type(value) is int else type(value) for value in values}
    if kinds & {list, tuple}:
        return "choice of lists"
    if dict in kinds:
        return "choice of mappings"
    return "choice of mixed types" if len(kinds) > 1 else "choice"


def conversion(searcher: str, domain: str) -> Conversion:
    """What `searcher` makes of a domain in a config; `EXACT` for Ray's own generator."""
    return CONVERSIONS.get(searcher, {}).get(domain, EXACT)
