"""From nodes of the space to ``hp`` calls."""

from __future__ import annotations

import math
from typing import Any

from tune_bridge.dialects.calls import Call
from tune_bridge.dialects.hyperopt.signatures import LAWS, SIGNATURES, refusal, scope
from tune_bridge.dialects.python_space import join, short
from tune_bridge.dialects.references import live_values
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.laws import (
    SAMPLE_FROM,
    cell_probabilities,
    log_integer_weights,
    total_variation,
    transformed_bounds,
)
from tune_bridge.notes import Notes
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
    Sequence,
    Uniform,
)

__all__ = ["MOST_OPTIONS", "number", "write_node", "write_space"]

MOST_OPTIONS = 256
"""The longest list of values with probabilities that is written for a law that ``hp`` lacks."""

_ROW = {
    (law.kind, law.fixed.get("scale", "linear"), "q" in law.arguments): (
        SIGNATURES[f"hp.{law.name}"],
        law.arguments,
    )
    for law in LAWS
    if not law.fixed.get("integer")
}
"""Kind, scale and whether there is a quantum -> the function, and the names of its arguments."""


def number(value: float) -> int | float:
    """A bound as a person writes it: ``20`` for ``20.0``."""
    return int(value) if value == int(value) and abs(value) < 1e15 else value


def write_space(space: Group, notes: Notes) -> dict[str, Any]:
    """Writes a tree as a dict of calls and constants; a shared node is one call in all its places.

    Args:
        space: The tree.
        notes: Where remarks go.

    Raises:
        SpecError: Two parameters have one label, or an operation that no file may ask for.
        UnsupportedError: An operation that HyperOpt has not.
    """
    return _Writer(notes).group(space, "")


def write_node(node: Node, path: str, notes: Notes) -> Any:
    """Writes one node by itself; its label is `path` where it has none of its own."""
    return _Writer(notes).node(node, path)


class _Writer:
    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.labels: dict[str, tuple[str, Node, Call]] = {}

    def group(self, group: Group, path: str) -> dict[str, Any]:
        return {name: self.node(node, join(path, name)) for name, node in group.items}

    def node(self, node: Node, path: str) -> Any:
        if isinstance(node, Group):
            return self.group(node, path)
        if isinstance(node, Constant):
            return live_values(node.value, path)
        if isinstance(node, Sequence):
            items = [self.node(item, f"{path}[{i}]") for i, item in enumerate(node.items)]
            if node.kind == "tuple":
                return tuple(items)
            self.notes.exact(path, "a list", "HyperOpt makes a tuple of it")
            return items
        if isinstance(node, Operation):
            return self.operation(node, path)
        label = node.label or path
        if label in self.labels:
            first, other, made = self.labels[label]
            if node.shared and other == node:
                return made
            raise SpecError(
                f"the label {label!r} belongs to two parameters, {first} and {path}",
                path=path,
                hint="rename one of them",
            )
        if node.grid:
            self.notes.approximated(
                path, "sampled instead of enumerated", "HyperOpt has no grid search"
            )
        if isinstance(node, Choice):
            call = self.choice(node, label, path)
        else:
            call = self.parameter(node.distribution, label, path)
        self.labels[label] = (path, node, call)
        return call

    def operation(self, node: Operation, path: str) -> Call:
        if node.name == SAMPLE_FROM:
            raise UnsupportedError(
                "HyperOpt has no parameter that a function of the configuration makes",
                path=path,
                found=short(node),
                hint="compute it in the objective",
            )
        refused = refusal(node.name)
        if refused:
            raise SpecError(f"scope.{node.name}: {refused}", path=path, found=short(node))
        args = [self.node(item, f"{path}[{i}]") for i, item in enumerate(node.args)]
        kwargs = {name: self.node(item, f"{path}.{name}") for name, item in node.kwargs.items}
        return scope(node.name).call(*args, **kwargs)

    def choice(self, choice: Choice, label: str, path: str) -> Call:
        values = [self.node(option, f"{path}[{i}]") for i, option in enumerate(choice.options)]
        if choice.weights is None or choice.grid:
            return _hp("choice", label, values)
        return _hp("pchoice", label, list(zip(choice.weights, values, strict=True)))

    def parameter(self, distribution: Distribution, label: str, path: str) -> Call:
        if isinstance(distribution, Integers):
            return self.integers(distribution, label, path)
        if isinstance(distribution, Beta):
            return self.beta(distribution, label, path)
        if isinstance(distribution, Uniform):
            if distribution.integer and distribution.scale == "linear" and distribution.q == 1:
                bounds = number(distribution.low), number(distribution.high)
                return _hp("uniformint", label, *bounds)
            if distribution.scale != "linear" and not distribution.exponents:
                self.notes.exact(path, "the bounds are written as natural logarithms")
        call = _law(distribution, label)
        return _int(call) if distribution.integer else call

    def integers(self, distribution: Integers, label: str, path: str) -> Call:
        low, high, step = distribution.low, distribution.high, distribution.step
        if not distribution.log:
            if step == 1:
                return _hp("randint", label, low, high + 1)
            self.notes.exact(
                path,
                "multiples as quniform half a step wider",
                "the ends weigh as much as the rest",
            )
            return _int(
                _hp("quniform", label, number(low - step / 2), number(high + step / 2), step)
            )
        if step == 1:
            # Tune's lograndint is this very thing: the floor of a log-uniform draw.
            return _int(_hp("loguniform", label, math.log(low), math.log(high + 1)))
        if distribution.count <= MOST_OPTIONS:
            self.notes.exact(
                path, "log multiples as hp.pchoice", "hp has no floored log-uniform multiples"
            )
            values = range(low, high + 1, step)
            weights = log_integer_weights(distribution)
            return _hp("pchoice", label, list(zip(weights, values, strict=True)))
        near = Uniform(low - step / 2, high + step / 2, "log", step, integer=True)
        self.notes.approximated(
            path,
            "log multiples as qloguniform",
            f"total variation distance {_distance(distribution, near):.2g}",
        )
        return _int(_law(near, label))

    def beta(self, distribution: Beta, label: str, path: str) -> Call:
        cells = {} if distribution.q is None else cell_probabilities(distribution)
        if 0 < len(cells) <= MOST_OPTIONS:
            self.notes.exact(path, "a rounded beta as hp.pchoice", "hp has no beta distribution")
            cast = int if distribution.integer else float
            total = math.fsum(cells.values())
            pairs = [(weight / total, cast(value)) for value, weight in cells.items()]
            return _hp("pchoice", label, pairs)
        self.notes.lost(
            path,
            "a beta distribution as a uniform one",
            "HyperOpt has no beta distribution",
            "search over a lognormal, or drive the sweep with another searcher",
        )
        return _hp("uniform", label, 0, 1)


def _hp(name: str, label: str, *args: Any) -> Call:
    return SIGNATURES[f"hp.{name}"].call(label, *args)


def _int(call: Call) -> Call:
    return SIGNATURES["scope.int"].call(call)


def _law(distribution: Uniform | Normal | Beta, label: str) -> Call:
    """The function with this law; the reciprocal scale has that of the log scale."""
    scale = "linear" if isinstance(distribution, Beta) else distribution.scale
    low = high = None
    if isinstance(distribution, Uniform) and scale != "linear":
        low, high = transformed_bounds(distribution)
        if scale == "reciprocal":
            low, high, scale = -high, -low, "log"
    row = (type(distribution), scale, distribution.q is not None)
    signature, names = _ROW[row]  # type: ignore[index]
    arguments: dict[str, Any] = {"label": label}
    for name in names:
        arguments[name] = number(getattr(distribution, name))
    if low is not None and high is not None:
        arguments |= {"low": number(low), "high": number(high)}
    return Call(signature, arguments)


def _distance(law: Integers, near: Uniform, most: int = 20_000) -> float:
    """Total variation distance; the far tail of a long range adds nothing that shows."""
    high = min(law.high, law.low + (most - 1) * law.step)
    kept = Integers(law.low, high, law.step, law.log)
    span = math.log((law.high + law.step) / law.low)
    share = math.log((high + law.step) / law.low) / span
    one = {value: weight * share for value, weight in cell_probabilities(kept).items()}
    low, top = transformed_bounds(near)
    other = {
        value: (math.log(value + law.step / 2) - math.log(value - law.step / 2)) / (top - low)
        for value in one
    }
    return total_variation(one, other)
