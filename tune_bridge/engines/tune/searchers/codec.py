"""Between our tree and a flat table of what a library searches, in both directions.

A searched node is a *knob*: a name, a *form* that libraries know (a float range, an integer range,
options), and the way back from the library's value to the node's. A library says which forms it
has (`Abilities`). What it lacks is carried by a form that it has, so that a value drawn from the
carrier's prior has the node's very law: a rounded law by the range that is rounded afterwards,
integers on a log scale by the log range that Tune floors, everything else (normal, beta, weighted
options, whatever has no scale in the library) by the unit interval and the law's quantiles.

Conditions are flattened: all branches have knobs, and those of the branches that were not drawn
are dropped from the configuration. Libraries that can say conditions find them in `Knob.parent`.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from tune_bridge import laws
from tune_bridge.engines.configs import fit
from tune_bridge.engines.results import plain
from tune_bridge.errors import InputError, UnsupportedError
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Distribution,
    Group,
    Integers,
    Node,
    Operation,
    Parameter,
    Sequence,
    Uniform,
    walk,
)
from tune_bridge.values import Frozen

__all__ = ["Abilities", "FlatSpace", "Form", "Knob", "flatten"]


class Abilities(NamedTuple):
    """Forms that a library has beside a range of floats.

    Attributes:
        log: A range of floats on a log scale.
        integers: A range of integers.
        options: Options without an order.
        weights: Options with probabilities.
        labels: Options are given to the library as they are where they are of one plain type, as
            Tune gives them; otherwise, and without, by their number.
        laws: The laws of HyperOpt: rounded and normal ones as well.
    """

    log: bool = False
    integers: bool = False
    options: bool = False
    weights: bool = False
    labels: bool = False
    laws: bool = False


class Form(NamedTuple):
    """What a library searches for a node.

    Attributes:
        kind: "float", "int", "options", or "law" for the node's own distribution.
        low: First value of a range.
        high: Last value of a range, included.
        log: The range is on a log scale.
        labels: The options.
        weights: Their probabilities, or None for equal ones.
    """

    kind: Literal["float", "int", "options", "law"]
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    labels: tuple[Any, ...] = ()
    weights: tuple[float, ...] | None = None


class Knob(NamedTuple):
    """A searched node, as a library sees it.

    Attributes:
        name: Its name in the library; groups are joined by "/", as Tune does.
        path: Its path in the tree (`tune_bridge.space.walk`).
        node: The node.
        form: What the library searches.
        decode: From the library's value to the node's number or the option's index.
        encode: The inverse; for a cell of values, one in its middle.
        parent: Name of the knob whose option it belongs to, and that option; None at the top.
    """

    name: str
    path: str
    node: Parameter | Choice
    form: Form
    decode: Callable[[Any], int | float]
    encode: Callable[[Any], Any]
    parent: tuple[str, int] | None = None


# Carriers -----------------------------------------------------------------------------------------


class _Number:
    """A float range that is the law itself."""

    def __init__(self, law: Uniform, low: float, high: float) -> None:
        self.law, self.low, self.high = law, low, high

    def decode(self, value: Any) -> int | float:
        number = min(max(float(value), self.low), self.high)
        if self.law.q is not None:
            number = round(number / self.law.q) * self.law.q + 0.0
        return int(number) if self.law.integer else number

    def encode(self, value: Any) -> float:
        return min(max(float(value), self.low), self.high)


class _Index:
    """An integer range over the number of a multiple of the step."""

    def __init__(self, law: Integers) -> None:
        self.step = law.step
        self.first, self.last = law.low // law.step, law.high // law.step

    def decode(self, value: Any) -> int:
        return int(min(max(int(value), self.first), self.last) * self.step)

    def encode(self, value: float) -> int:
        return round(value / self.step)


class _Floored(_Index):
    """A float range whose floor is the number of a multiple: Tune's integers on a log scale."""

    def decode(self, value: Any) -> int:
        return super().decode(math.floor(float(value)))

    def encode(self, value: float) -> float:  # type: ignore[override]
        return super().encode(value) + 0.5


class _Law:
    """The law itself, before its type."""

    def __init__(self, law: Distribution) -> None:
        self.law = law

    def decode(self, value: Any) -> int | float:
        if isinstance(self.law, Integers) and self.law.log:
            return _Floored(self.law).decode(value)
        whole = isinstance(self.law, Integers) or self.law.integer
        return round(value) if whole else float(value) + 0.0

    def encode(self, value: Any) -> Any:
        return value


class _Quantile:
    """The unit interval, and the quantiles of any law."""

    def __init__(self, law: Distribution) -> None:
        self.law = law

    def decode(self, value: Any) -> int | float:
        return laws.ppf(self.law, float(value))

    def encode(self, value: float) -> float:
        law = self.law
        if not isinstance(law, Integers):
            return laws.cdf(law, float(value))
        first, last = law.low // law.step, law.high // law.step
        middle = round(value / law.step) + 0.5
        if law.log:
            return math.log(middle / first) / math.log((last + 1) / first)
        return (middle - first) / (last - first + 1)


class _Labels:
    """Options by what stands for them."""

    def __init__(self, labels: tuple[Any, ...]) -> None:
        self.labels = labels

    def decode(self, value: Any) -> int:
        return self.labels.index(getattr(value, "item", lambda: value)())

    def encode(self, value: Any) -> Any:
        return self.labels[value]


class _Shares:
    """Options as shares of the unit interval."""

    def __init__(self, weights: tuple[float, ...]) -> None:
        self.sums = [0.0, *itertools.accumulate(weights)]

    def decode(self, value: Any) -> int:
        at = bisect.bisect_right(self.sums, float(value) * self.sums[-1]) - 1
        # An option without weight has no share, not even at the end of the interval.
        last = len(self.sums) - 2
        while last and self.sums[last] == self.sums[last + 1]:
            last -= 1
        return min(at, last)

    def encode(self, value: int) -> float:
        return (self.sums[value] + self.sums[value + 1]) / 2 / self.sums[-1]


Carried = tuple[Form, Any]


def _carry(node: Parameter | Choice, can: Abilities) -> Carried:
    """The form of a node, and what decodes and encodes it."""
    if isinstance(node, Choice):
        return _carry_choice(node, can)
    law = node.distribution
    if can.laws and _is_hp(law):
        return Form("law"), _Law(law)
    if isinstance(law, Integers):
        first, last = law.low // law.step, law.high // law.step
        if not law.log and can.integers:
            return Form("int", first, last), _Index(law)
        if not law.log or can.log:
            return Form("float", float(first), float(last + 1), law.log), _Floored(law)
    elif isinstance(law, Uniform):
        bounds = _value_bounds(law)
        log = law.scale != "linear"
        if bounds is not None and (can.log or not log):
            return Form("float", *bounds, log), _Number(law, *bounds)
    return Form("float"), _Quantile(law)


def _is_hp(law: Distribution) -> bool:
    """Whether ``hp`` of HyperOpt has a law, as `tune_bridge.dialects.hyperopt.writer` spells it."""
    return not isinstance(law, Beta) and not (
        isinstance(law, Integers) and law.log and law.step > 1
    )


def _value_bounds(law: Uniform) -> tuple[float, float] | None:
    """Bounds of the value; the reciprocal scale has the law of the log scale."""
    low, high = law.low, law.high
    if law.exponents:
        low, high = laws.transformed_bounds(law)
        if law.scale == "reciprocal":
            low, high = -high, -low
        if low < -300 or high > 300:
            return None
        low, high = math.exp(low), math.exp(high)
    return (low, high) if low < high else None


def _carry_choice(node: Choice, can: Abilities) -> Carried:
    number = len(node.options)
    weights = None if node.grid else node.weights
    if not can.options or (weights is not None and not can.weights):
        return Form("float"), _Shares(weights or (1.0,) * number)
    labels: tuple[Any, ...] = tuple(range(number))
    if can.labels:
        values = node.values() if node.plain else []
        kinds = {type(value) for value in values}
        plain = len(kinds) == 1 and kinds <= {str, int, float, bool} and len(set(values)) == number
        labels = tuple(values) if plain else tuple(map(str, labels))
    return Form("options", labels=labels, weights=weights), _Labels(labels)


# The whole space ----------------------------------------------------------------------------------


class FlatSpace:
    """A tree as knobs.

    Args:
        space: The tree.
        can: What the library can say.
        labels: Call parameters by HyperOpt's labels, where these are unique.

    Attributes:
        space: The tree.
        knobs: By name, in Tune's order. What has one value only is none.
        by_path: The same by their paths in the tree; shared ones stand at several.

    Raises:
        UnsupportedError: A value that a function of the configuration makes.
    """

    def __init__(self, space: Group, can: Abilities, *, labels: bool = False) -> None:
        self.space = space
        self.knobs: dict[str, Knob] = {}
        self.by_path: dict[str, Knob] = {}
        shared: dict[str, Knob] = {}
        for place in walk(space):
            node = place.node
            if isinstance(node, Operation) and node.name == laws.SAMPLE_FROM:
                raise UnsupportedError(
                    "a value that a function makes of the configuration, which only Ray calls",
                    path=place.path,
                    expected="a parameter, or a run on Ray",
                )
            if not isinstance(node, Parameter | Choice) or _single(node):
                continue
            if node.shared and node.label in shared:
                # One draw for several places, so that no single condition is its own.
                knob = shared[node.label]._replace(parent=None)
                places = [path for path, other in self.by_path.items() if other.name == knob.name]
                self.by_path |= dict.fromkeys((*places, place.path), knob)
                self.knobs[knob.name] = shared[node.label] = knob
                continue
            wanted = (node.label or place.path) if labels else _joined(place.path)
            name = self._free(wanted)
            above = ((self.by_path.get(path), i) for path, i in reversed(place.conditions))
            parent = next(((knob.name, i) for knob, i in above if knob is not None), None)
            form, carrier = _carry(node, can)
            knob = Knob(name, place.path, node, form, carrier.decode, carrier.encode, parent)
            self.knobs[name] = self.by_path[place.path] = knob
            if node.shared and node.label is not None:
                shared[node.label] = knob
        # Tune's searchers see the names of the top first, then those of groups: some draw in order.
        self.knobs = dict(sorted(self.knobs.items(), key=lambda item: item[0].count("/")))

    def _free(self, name: str) -> str:
        """A name that no other knob has, nor a group of others."""
        while name in self.knobs or any(
            other.startswith(f"{name}/") or name.startswith(f"{other}/") for other in self.knobs
        ):
            name += "_"
        return name

    @property
    def as_written(self) -> dict[str, Knob]:
        """The knobs in the order of the tree, which some of Tune's searchers keep."""
        return {knob.name: knob for knob in self.by_path.values()}

    def decode(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration that a library's values stand for.

        Args:
            flat: The library's values by name; those of branches that were not drawn may be there
                or not.

        Raises:
            SpecError: An operation has no value there.
        """
        config: dict[str, Any] = self._value(self.space, "", flat)
        return config

    def _value(self, node: Node, path: str, flat: Mapping[str, Any]) -> Any:
        if isinstance(node, Group):
            return {
                name: self._value(child, f"{path}.{name}" if path else name, flat)
                for name, child in node.items
            }
        if isinstance(node, Constant):
            return plain(node.value)
        if isinstance(node, Sequence):
            return [self._value(x, f"{path}[{i}]", flat) for i, x in enumerate(node.items)]
        if isinstance(node, Operation):
            return self._operation(node, path, flat)
        knob = self.by_path.get(path)
        if isinstance(node, Parameter):
            return _only(node) if knob is None else knob.decode(flat[knob.name])
        index = 0 if knob is None else int(knob.decode(flat[knob.name]))
        return self._value(node.options[index], f"{path}[{index}]", flat)

    def _operation(self, node: Operation, path: str, flat: Mapping[str, Any]) -> Any:
        if node.name != "switch":
            values = [self._value(x, f"{path}{where}", flat) for where, x in node.arguments]
            return plain(laws.operate(node, values))
        index = self._value(node.args[0], f"{path}[0]", flat)
        chosen = 1 + laws.operate(node, [index, *range(len(node.args) - 1)])
        return self._value(node.args[chosen], f"{path}[{chosen}]", flat)

    def encode(self, config: Mapping[str, Any], seed: int, *, where: str = "") -> dict[str, Any]:
        """The library's values that stand for a configuration.

        Args:
            config: A configuration; what it leaves out is drawn, other branches included.
            seed: Decides what is drawn.
            where: Where the configuration stands, for messages.

        Raises:
            InputError: It does not fit the space; naming the parameter.
        """
        rng = random.Random(seed)
        drawn: dict[str, Any] = {}
        self._read(self.space, fit(self.space, config, where, partial=True), "", drawn)
        flat = {}
        for name, knob in self.knobs.items():
            value = drawn[name] if name in drawn else _draw(knob.node, rng)
            flat[name] = knob.encode(value)
        return flat

    def _read(self, node: Node, value: Any, path: str, drawn: dict[str, Any]) -> None:
        """Adds what `value` says of the knobs below `node`; of an operation, it says nothing."""
        if isinstance(node, Group):
            for name, child in node.items:
                if name in value:
                    self._read(child, value[name], f"{path}.{name}" if path else name, drawn)
        elif isinstance(node, Sequence):
            for index, (child, item) in enumerate(zip(node.items, value, strict=True)):
                self._read(child, item, f"{path}[{index}]", drawn)
        elif isinstance(node, Parameter | Choice):
            if isinstance(node, Choice):
                index = _option(node, value)
                self._read(node.options[index], value, f"{path}[{index}]", drawn)
                value = index
            if path in self.by_path:
                drawn[self.by_path[path].name] = value

    def active(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """The values of `flat` without those of branches that are not drawn."""
        return {
            name: value for name, value in flat.items() if self.is_active(self.knobs[name], flat)
        }

    def is_active(self, knob: Knob, flat: Mapping[str, Any]) -> bool:
        """Whether the branch of a knob is drawn."""
        while knob.parent is not None:
            name, option = knob.parent
            knob = self.knobs[name]
            if knob.decode(flat[name]) != option:
                return False
        return True


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names joined by "/" and values: the inverse of what Ray makes of a library's values."""
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _joined(path: str) -> str:
    """A dotted path in Tune's form; Ray would make a list of names that are numbers."""
    parts = path.replace("/", "|").split(".")
    return "/".join(f"#{part}" if part.isdigit() or not part else part for part in parts)


def _single(node: Parameter | Choice) -> bool:
    if isinstance(node, Choice):
        return len(node.options) == 1
    law = node.distribution
    return isinstance(law, Integers) and law.low == law.high


def _only(node: Parameter) -> int | float:
    return laws.ppf(node.distribution, 0.5)


def _draw(node: Parameter | Choice, rng: random.Random) -> Any:
    if isinstance(node, Parameter):
        return laws.ppf(node.distribution, rng.random())
    constants = tuple(Constant.of(index) for index in range(len(node.options)))
    return laws.sample(Choice(constants, None if node.grid else node.weights), rng)


def _option(node: Choice, value: Any) -> int:
    """Which option a value that fits is."""
    kept = fit(node, value, partial=True)
    for index, option in enumerate(node.options):
        if isinstance(option, Constant):
            if Frozen(plain(option.value)) == Frozen(kept):
                return index
            continue
        try:
            if fit(option, value, partial=True) == kept:
                return index
        except InputError:
            continue
    raise AssertionError("a value that fits is an option")
