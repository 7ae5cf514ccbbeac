"""Hypothesis strategies for spaces and experiments, for the property tests of every dialect.

Needs the ``hypothesis`` package, which tests bring.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tune_bridge import laws
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Distribution,
    Group,
    Integers,
    Node,
    Normal,
    Operation,
    Parameter,
    Sequence,
    Uniform,
)
from tune_bridge.values import Frozen

__all__ = [
    "betas",
    "conditional_spaces",
    "constants",
    "distributions",
    "experiments",
    "integers",
    "names",
    "normals",
    "operation_spaces",
    "spaces",
    "uniforms",
    "values",
    "whole_spaces",
]

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("eval", "grid_search", "parameters")
)
"""Names that every notation accepts."""

_finite = st.floats(-1e6, 1e6).map(lambda x: round(x, 6))
_positive = st.floats(1e-6, 1e6).map(lambda x: float(f"{x:.6g}"))
_quanta = st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 10.0])
_whole_quanta = st.sampled_from([1.0, 2.0, 3.0, 10.0])


def values(max_leaves: int = 4) -> st.SearchStrategy[Any]:
    """Plain JSON values, lists and dicts included."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-(2**40), 2**40)
        | _finite
        | st.text(max_size=8)
        | st.sampled_from(["1e-5", "yes", "null", "012", "2020-01-01", "a: b", "#x", "${args}", ""])
    )
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=max_leaves,
    )


def constants() -> st.SearchStrategy[Constant]:
    """Constants of plain JSON values."""
    return values().map(Constant.of)


def _quantum(draw: st.DrawFn) -> tuple[float | None, bool]:
    kind = draw(st.sampled_from(["none", "float", "int"]))
    if kind == "none":
        return None, False
    return (draw(_whole_quanta), True) if kind == "int" else (draw(_quanta), False)


@st.composite
def uniforms(draw: st.DrawFn) -> Uniform:
    """Uniform distributions of every scale, quantised and not."""
    scale: Any = draw(st.sampled_from(["linear", "log", "reciprocal"]))
    exponents = scale != "linear" and draw(st.booleans())
    bounds = _positive if scale != "linear" and not exponents else _finite
    if exponents:
        bounds = st.floats(-20, 20).map(lambda x: round(x, 6))
    low, high = sorted((draw(bounds), draw(bounds)))
    if not low < high:
        high = low + max(abs(low), 1.0)
    q, integer = _quantum(draw)
    if scale == "reciprocal":
        q, integer = None, False
    return Uniform(low, high, scale=scale, q=q, integer=integer, exponents=exponents)


@st.composite
def integers(draw: st.DrawFn) -> Integers:
    """Integers, stepped and logarithmic."""
    step = draw(st.sampled_from([1, 1, 2, 5]))
    log = draw(st.booleans())
    first = draw(st.integers(1 if log else -1000, 1000))
    count = draw(st.integers(2, 400))
    return Integers(first * step, (first + count - 1) * step, step, log)


@st.composite
def normals(draw: st.DrawFn) -> Normal:
    """Normal and log-normal distributions, quantised and not."""
    q, integer = _quantum(draw)
    scale: Any = draw(st.sampled_from(["linear", "log"]))
    mu = draw(st.floats(-5, 5).map(lambda x: round(x, 6)))
    return Normal(mu, draw(st.floats(0.01, 3).map(lambda x: round(x, 6))), scale, q, integer)


@st.composite
def betas(draw: st.DrawFn) -> Beta:
    """Beta distributions."""
    shape = st.floats(0.1, 10).map(lambda x: round(x, 4))
    return Beta(draw(shape), draw(shape), draw(st.sampled_from([None, 0.1, 0.25])))


def distributions() -> st.SearchStrategy[Distribution]:
    """Every distribution of the space."""
    return uniforms() | integers() | normals() | betas()


def _laws(given: st.SearchStrategy[Distribution] | None) -> st.SearchStrategy[Distribution]:
    return distributions() if given is None else given


@st.composite
def _weighted(draw: st.DrawFn) -> Choice:
    options = draw(st.lists(constants(), min_size=2, max_size=4))
    raw = draw(st.lists(st.integers(1, 9), min_size=len(options), max_size=len(options)))
    return Choice(tuple(options), tuple(weight / sum(raw) for weight in raw))


def _choices(grid: bool) -> st.SearchStrategy[Choice]:
    plain = st.lists(constants(), min_size=1, max_size=4).map(
        lambda options: Choice(tuple(options), grid=grid)
    )
    return plain if grid else plain | _weighted()


def spaces(
    laws: st.SearchStrategy[Distribution] | None = None, *, grid: bool = False
) -> st.SearchStrategy[Group]:
    """Search spaces with constants, nested groups, choices and parameters.

    Args:
        laws: Distributions to use; all by default.
        grid: Only what is enumerated, and constants.
    """
    if grid:
        searched: st.SearchStrategy[Node] = _choices(True) | st.integers(1, 5).map(
            lambda n: Parameter(Integers(0, n), grid=True)
        )
    else:
        searched = _laws(laws).map(Parameter) | _choices(False)
    leaf: st.SearchStrategy[Node] = searched | constants()

    def group(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Group]:
        return st.dictionaries(names, children, min_size=1, max_size=3).map(
            lambda items: Group(tuple(items.items()))
        )

    tree = group(leaf | group(leaf | group(leaf)))
    return tree.flatmap(
        lambda space: searched.map(lambda node: Group((*_without(space, "x0"), ("x0", node))))
    )


@st.composite
def _drawn(draw: st.DrawFn, searched: st.SearchStrategy[Node], depth: int) -> Node:
    """A tree in which something is drawn, in the form that readers give it."""
    kind = draw(st.sampled_from(["leaf", "group", "sequence", "choice"])) if depth else "leaf"
    if kind == "leaf":
        return draw(searched)
    first = draw(_drawn(searched, depth - 1))
    if kind == "group":
        # A mapping of constants inside of a group is a group itself for most readers.
        plain = constants().filter(lambda node: not isinstance(node.value, dict))
        beside = draw(st.dictionaries(names, plain | searched, max_size=2))
        items = {draw(names): first}
        return Group(tuple({**beside, **items}.items()))
    others = draw(st.lists(constants() | searched, min_size=1, max_size=2))
    nodes = tuple(draw(st.permutations([first, *others])))
    if kind == "sequence":
        return Sequence(nodes, draw(st.sampled_from(["list", "tuple"])))
    weights = draw(st.none() | st.lists(st.integers(1, 9), min_size=3, max_size=3))
    if weights is None:
        return Choice(nodes)
    weights = weights[: len(nodes)]
    return Choice(nodes, tuple(weight / sum(weights) for weight in weights))


def conditional_spaces(
    laws: st.SearchStrategy[Distribution] | None = None,
) -> st.SearchStrategy[Group]:
    """Search spaces as `spaces` makes them, with a condition or a list of parameters in each.

    It stands at ``x1``; ``x0`` is searched in every run.

    Args:
        laws: Distributions to use; all by default.
    """
    searched: st.SearchStrategy[Node] = _laws(laws).map(Parameter) | _choices(False)
    nested = _drawn(searched, 3).filter(_is_nested)
    return st.builds(
        lambda space, node: Group((*_without(space, "x1"), ("x1", node))), spaces(laws), nested
    )


def _is_nested(node: Node) -> bool:
    return isinstance(node, Sequence) or (isinstance(node, Choice) and not node.plain)


def _without(space: Group, name: str) -> tuple[tuple[str, Node], ...]:
    return tuple(item for item in space.items if item[0] != name)


_ASHA = st.fixed_dictionaries(
    {},
    optional={
        "grace_period": st.integers(2, 5),
        "max_t": st.integers(20, 80),
        "reduction_factor": st.sampled_from([2, 3, 3.5]),
    },
).map(lambda args: Algorithm("AsyncHyperBandScheduler", Frozen(args)))

_HYPEROPT = st.fixed_dictionaries(
    {},
    optional={"n_initial_points": st.integers(1, 9), "gamma": st.sampled_from([0.15, 0.5])},
).map(lambda args: Algorithm("HyperOptSearch", Frozen(args)))


@st.composite
def experiments(
    draw: st.DrawFn,
    space: Callable[[], st.SearchStrategy[Group]] = spaces,
    searchers: st.SearchStrategy[Algorithm] | None = None,
) -> Experiment:
    """Experiments as `tune.run` describes them.

    Args:
        draw: Hypothesis's.
        space: Makes the strategy for sampled spaces: `spaces`, or `conditional_spaces`.
        searchers: Algorithms for sampled spaces; random and HyperOpt by default.
    """
    grid = draw(st.integers(0, 4)) == 0
    proposers = st.just(RANDOM) | _HYPEROPT if searchers is None else searchers
    searcher = RANDOM if grid else draw(proposers)
    has_searcher = searcher != RANDOM
    tree = draw(spaces(grid=True) if grid else space())
    searched = tree.get("x0")
    assert searched is not None
    # A seeded generator: hypothesis's own likes draws of exactly 0, which have no probability.
    rng = random.Random(draw(st.integers(0, 2**32)))
    optional = st.none() | st.text("abcXYZ -_", min_size=1, max_size=12)
    return Experiment(
        space=tree,
        program=draw(st.sampled_from(["train.py", "src/my train.py"])),
        objective=Objective(
            draw(st.sampled_from(["loss", "val/acc"])),
            draw(st.sampled_from(["minimize", "maximize"])),
        ),
        searcher=searcher,
        scheduler=draw(st.none() | _ASHA),
        num_samples=draw(st.none() | st.integers(1, 500)),
        stop=Frozen(draw(st.just({}) | st.just({"training_iteration": 10}))),
        points=tuple(
            Frozen({"x0": laws.sample(searched, rng)}) for _ in range(draw(st.integers(0, 2)))
        ),
        seed=draw(st.none() | st.integers(0, 2**31)),
        max_concurrent=draw(st.none() | st.integers(1, 16)),
        resources=Frozen(draw(st.just({}) | st.just({"cpu": 2, "gpu": 0.5}))),
        space_in=draw(st.sampled_from(["config", "searcher"])) if has_searcher else "config",
        name=draw(optional),
    )


_ONE = ("exp", "int", "neg", "sqrt")
_TWO = ("add", "sub", "mul", "truediv", "maximum")


@st.composite
def operation_spaces(draw: st.DrawFn) -> Group:
    """Search spaces with operations on parameters, and with draws that several places share.

    Everything has a label, as in a space of HyperOpt.
    """
    laws = uniforms().filter(lambda law: law.scale != "reciprocal") | normals()
    count = draw(st.integers(1, 3))
    shared: list[Node] = [
        Parameter(draw(laws), label=f"shared_{index}", shared=True) for index in range(count)
    ]
    fresh = iter(range(1000))

    def operand(depth: int) -> Node:
        kind = draw(st.sampled_from(["shared", "own", "constant", "operation", "choice"]))
        if kind == "shared" or not depth:
            return draw(st.sampled_from(shared))
        if kind == "own":
            return Parameter(draw(laws), label=f"own_{next(fresh)}")
        if kind == "constant":
            return Constant.of(draw(st.sampled_from([1, 2, 0.5, -3])))
        if kind == "choice":
            options = (operand(depth - 1), Constant.of(draw(st.sampled_from([4, 0.25]))))
            return Choice(options, label=f"own_{next(fresh)}")
        if draw(st.booleans()):
            return Operation(draw(st.sampled_from(_ONE)), (operand(depth - 1),))
        name = draw(st.sampled_from((*_TWO, "authors_own")))
        args = (operand(depth - 1), operand(depth - 1))
        more = Group((("more", operand(0)),)) if name == "authors_own" else Group()
        return Operation(name, args, more)

    found = {name: operand(2) for name in draw(st.sets(names, min_size=1, max_size=3))}
    # Each shared draw stands in two places at least.
    pairs = {f"z{place}_{index}": node for index, node in enumerate(shared) for place in (1, 2)}
    return Group(tuple({**found, **pairs}.items()))


_FORMS = ("condition", "list", "shared", "operation")


@st.composite
def whole_spaces(
    draw: st.DrawFn, laws: st.SearchStrategy[Distribution] | None = None
) -> tuple[Group, frozenset[str]]:
    """Search spaces with some of all that a tree can hold, and what there is.

    ``x0`` is searched in every run. Conditions stand at ``x1``, a list at ``x2``, operations at
    ``x3`` and shared draws in ``z1_0`` and ``z2_0`` with names of their own.

    Args:
        draw: Hypothesis's.
        laws: Distributions to use; all by default.

    Returns:
        The space, and those of "condition", "list", "shared" and "operation" that are in it.
    """
    laws = _laws(laws)
    forms = draw(st.frozensets(st.sampled_from(_FORMS)))
    searched: st.SearchStrategy[Node] = laws.map(Parameter) | _choices(False)
    found: dict[str, Node] = dict(draw(spaces(laws)).items)
    if "condition" in forms:
        found["x1"] = draw(_drawn(searched, 3).filter(_is_condition))
    if "list" in forms:
        items = draw(st.lists(_drawn(searched, 1) | constants(), min_size=1, max_size=3))
        kind: Any = draw(st.sampled_from(["list", "tuple"]))
        found["x2"] = Sequence((draw(_drawn(searched, 2)), *items), kind)
    if "operation" in forms:
        # Readers fold what is a law again: a negative normal, the integer part of an integer.
        name = draw(st.sampled_from(["exp", "int", "sqrt", "authors_own"]))
        continuous = laws.filter(lambda law: getattr(law, "q", 1) is None)
        found["x3"] = Operation(name, (Parameter(draw(continuous)),))
    if "shared" in forms:
        twice: Node = draw(st.builds(Parameter, laws, st.just("twice"), shared=st.just(True)))
        found |= {"z1_0": twice, "z2_0": Group((("again", twice),))}
    return Group(tuple(found.items())), forms


def _is_condition(node: Node) -> bool:
    return isinstance(node, Choice) and not node.plain
