"""The search space: one immutable tree that every notation is read into and written from.

A `Group` names its children; a child is a `Constant`, a `Parameter` (a number with a distribution),
a `Choice` (options, weighted or not), a `Sequence` (a list or tuple that holds parameters), an
`Operation` (a function of other nodes) or another `Group`. An option of a choice is any node, so
that a choice can be a condition. Scale and quantum are attributes of a distribution, not classes of
their own. A node that is drawn once and used in several places stands in each of them, `shared`.
Nothing here knows a notation, imports a heavy package or does I/O; the laws that these
distributions stand for are in `tune_bridge.laws`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from tune_bridge.errors import SpecError
from tune_bridge.values import Frozen

__all__ = [
    "ARITY",
    "Beta",
    "Choice",
    "Constant",
    "Distribution",
    "Group",
    "Integers",
    "Node",
    "Normal",
    "Operation",
    "Parameter",
    "Place",
    "Scale",
    "Sequence",
    "Uniform",
    "check_executable",
    "check_shared",
    "leaves",
    "walk",
]

Scale = Literal["linear", "log", "reciprocal"]


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        try:
            if isinstance(value, bool | str | bytes) or value is None:
                raise TypeError
            value = float(value)
        except (TypeError, ValueError):
            raise SpecError(
                f"{name} is not a number", path=name, found=repr(value), expected="a number"
            ) from None
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SpecError(
            f"{name} is not finite", path=name, found=repr(value), expected="a finite number"
        )
    return number


def _whole(value: Any, name: str) -> int:
    number = _number(value, name)
    if number != int(number):
        raise SpecError(
            f"{name} is not a whole number", path=name, found=repr(value), expected="an integer"
        )
    return int(value)


class _Distribution(msgspec.Struct, frozen=True, tag_field="distribution", omit_defaults=True):
    """Common base: assigns fields while a frozen value is being made."""

    def _fix(self, name: str, value: Any) -> None:
        msgspec.structs.force_setattr(self, name, value)

    def _fix_quantum(self, q: Any, integer: bool) -> None:
        if q is None:
            if integer:
                raise SpecError("a continuous distribution has no integers", path="q", found="none")
            return
        step = _number(q, "q")
        if step <= 0:
            raise SpecError("q is not positive", path="q", found=repr(q), expected="q > 0")
        if integer and step != int(step):
            raise SpecError("integers need a whole q", path="q", found=repr(q))
        self._fix("q", step)

    def _fix_positive(self, *names: str) -> None:
        for name in names:
            value = _number(getattr(self, name), name)
            if value <= 0:
                raise SpecError(f"{name} is not positive", path=name, found=repr(value))
            self._fix(name, value)


class Uniform(_Distribution, frozen=True, tag="uniform"):
    """Uniform between two bounds on some scale, optionally rounded to multiples of `q`.

    A draw is ``u``, uniform on the transformed bounds, transformed back, then
    ``round_half_even(x / q) * q`` without clipping, as HyperOpt, Ray Tune (floats) and W&B do: the
    end cells weigh half when the bounds are multiples of `q`, and values may leave the bounds when
    not.

    Attributes:
        low: Lower bound; for `exponents` its natural logarithm.
        high: Upper bound, above `low`; for `exponents` its natural logarithm.
        scale: "linear"; "log" (``log x`` uniform); "reciprocal" (``log 1/x`` uniform between the
            bounds, which then are those of ``log 1/x`` when `exponents`, of ``x`` otherwise).
        q: Quantum, above 0, or None for a continuous value.
        integer: The value is an int (`q` is whole); otherwise a float.
        exponents: The bounds are natural logarithms (HyperOpt's loguniform, W&B's log_uniform).

    Raises:
        SpecError: A bound is no finite number, ``low >= high``, a log scale with ``low <= 0``, ``q
            <= 0``.
    """

    low: float
    high: float
    scale: Scale = "linear"
    q: float | None = None
    integer: bool = False
    exponents: bool = False

    def __post_init__(self) -> None:
        low, high = _number(self.low, "low"), _number(self.high, "high")
        self._fix("low", low)
        self._fix("high", high)
        if not low < high:
            raise SpecError(
                "the lower bound is not below the upper bound",
                found=f"{low:g} and {high:g}",
                expected="low < high",
                hint="swap them" if low > high else "write a constant instead",
            )
        if self.scale != "linear" and not self.exponents and low <= 0:
            raise SpecError(
                "a log scale needs positive bounds",
                path="low",
                found=f"{low:g}",
                expected="a number above 0",
                hint="exponents belong to hp.loguniform and to W&B's log_uniform",
            )
        if self.scale == "linear" and self.exponents:
            raise SpecError("exponents need a log scale", path="exponents")
        self._fix_quantum(self.q, self.integer)


class Integers(_Distribution, frozen=True, tag="integers"):
    """Integers ``low, low + step, ..., high``, **both ends included**.

    Attributes:
        low: First value, a multiple of `step`.
        high: Last value, a multiple of `step`, at least `low`.
        step: Distance of neighbours, at least 1.
        log: Weight of ``k = value / step`` is ``ln((k + 1) / k)``, the law of flooring a
            log-uniform draw (Ray Tune's lograndint); otherwise all values are equally likely.

    Raises:
        SpecError: Not integers, ``low > high``, not multiples of `step`, or log with ``low <= 0``.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            self._fix(name, _whole(getattr(self, name), name))
        if self.low > self.high:
            raise SpecError(
                "the lower bound is above the upper bound",
                found=f"{self.low} and {self.high} (both included)",
                expected="low <= high",
            )
        if self.step < 1 or self.low % self.step or self.high % self.step:
            raise SpecError(
                "the bounds are not multiples of the step",
                found=f"{self.low}, {self.high}, step {self.step}",
            )
        if self.log and self.low <= 0:
            raise SpecError(
                "a log scale needs positive bounds", path="low", found=str(self.low), expected="> 0"
            )

    @property
    def count(self) -> int:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1


class Normal(_Distribution, frozen=True, tag="normal"):
    """Normal, or log-normal with ``scale="log"``, optionally rounded to multiples of `q`.

    Attributes:
        mu: Mean (of the logarithm on the log scale).
        sigma: Standard deviation (of the logarithm on the log scale), above 0.
        scale: "linear" or "log".
        q: Quantum, above 0, or None.
        integer: The value is an int.
    """

    mu: float = 0.0
    sigma: float = 1.0
    scale: Literal["linear", "log"] = "linear"
    q: float | None = None
    integer: bool = False

    def __post_init__(self) -> None:
        self._fix("mu", _number(self.mu, "mu"))
        self._fix_positive("sigma")
        self._fix_quantum(self.q, self.integer)


class Beta(_Distribution, frozen=True, tag="beta"):
    """Beta on [0, 1], optionally rounded to multiples of `q`.

    Attributes:
        a: First shape, above 0.
        b: Second shape, above 0.
        q: Quantum, above 0, or None.
        integer: The value is an int.
    """

    a: float = 1.0
    b: float = 1.0
    q: float | None = None
    integer: bool = False

    def __post_init__(self) -> None:
        self._fix_positive("a", "b")
        self._fix_quantum(self.q, self.integer)


Distribution = Uniform | Integers | Normal | Beta


class Constant(msgspec.Struct, frozen=True, tag_field="node", tag="constant"):
    """A value that is not searched. Use `Constant.of`."""

    frozen: Frozen

    @classmethod
    def of(cls, value: Any, path: str = "") -> Constant:
        """A constant of a plain Python value.

        Raises:
            SpecError: The value cannot be written to a file.
        """
        return cls(Frozen(value, path))

    @property
    def value(self) -> Any:
        """The Python value, a fresh copy."""
        return self.frozen.value


class Parameter(msgspec.Struct, frozen=True, tag_field="node", tag="parameter", omit_defaults=True):
    """A searched number.

    Attributes:
        distribution: Its law.
        label: HyperOpt's label where it differs from the dotted path; None otherwise.
        grid: Every value is tried, instead of sampled ones (W&B's grid over int_uniform,
            q_uniform).
        shared: All places with this label have one draw, as HyperOpt does with one node that is
            used twice. The label is always given then, and the nodes are equal.
    """

    distribution: Distribution
    label: str | None = None
    grid: bool = False
    shared: bool = False


class Choice(msgspec.Struct, frozen=True, tag_field="node", tag="choice", omit_defaults=True):
    """One of several options; an option is a tree, so that a choice can be a condition.

    Attributes:
        options: At least one node.
        weights: Probabilities of the options, same length, summing to 1; None for equal ones.
        label: HyperOpt's label where it differs from the dotted path; None otherwise.
        grid: Every option is tried, instead of sampled ones.
        shared: All places with this label have one draw, as for a `Parameter`.

    Raises:
        SpecError: No options, or weights that do not fit.
    """

    options: tuple[Node, ...]
    weights: tuple[float, ...] | None = None
    label: str | None = None
    grid: bool = False
    shared: bool = False

    def __post_init__(self) -> None:
        if not self.options:
            raise SpecError("a choice without options", expected="at least one option")
        if self.weights is None:
            return
        weights = tuple(_number(w, "probabilities") for w in self.weights)
        msgspec.structs.force_setattr(self, "weights", weights)
        if len(weights) != len(self.options):
            raise SpecError(
                "probabilities and options differ in number",
                found=f"{len(weights)} probabilities for {len(self.options)} options",
            )
        if min(weights) < 0 or not math.isclose(sum(weights), 1.0, rel_tol=1e-5, abs_tol=1e-8):
            raise SpecError(
                "probabilities must not be negative and must sum to 1",
                found=f"{', '.join(f'{w:g}' for w in weights)} (sum {sum(weights):g})",
            )

    @property
    def plain(self) -> bool:
        """Whether every option is a constant."""
        return all(isinstance(option, Constant) for option in self.options)

    def values(self) -> list[Any]:
        """The Python values of plain options, in order."""
        return [option.value for option in self.options if isinstance(option, Constant)]


class Group(msgspec.Struct, frozen=True, eq=False, tag_field="node", tag="group"):
    """Named children. Order is kept for people; equality ignores it.

    Attributes:
        items: Pairs of name and node; names are unique.

    Raises:
        SpecError: A name twice.
    """

    items: tuple[tuple[str, Node], ...] = ()

    def __post_init__(self) -> None:
        if len({name for name, _ in self.items}) != len(self.items):
            names = [name for name, _ in self.items]
            twice = next(name for name in names if names.count(name) > 1)
            raise SpecError("a parameter is named twice", path=twice)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and dict(self.items) == dict(other.items)

    def __hash__(self) -> int:
        return hash(frozenset(self.items))

    def get(self, name: str) -> Node | None:
        """The child called `name`, or None."""
        return next((node for key, node in self.items if key == name), None)


class Sequence(msgspec.Struct, frozen=True, tag_field="node", tag="sequence", omit_defaults=True):
    """A list or a tuple that holds parameters; one of plain values is a `Constant`.

    Attributes:
        items: The nodes, in order.
        kind: What Python makes of it.
    """

    items: tuple[Node, ...]
    kind: Literal["list", "tuple"] = "list"


ARITY = {
    **dict.fromkeys(
        ("cos", "exp", "float", "identity", "int", "log", "neg", "sample_from", "sin", "sqrt"), 1
    ),
    "tan": 1,
    **dict.fromkeys(("add", "floordiv", "hyperopt_param", "maximum", "minimum", "mul"), 2),
    **dict.fromkeys(("pow", "sub", "truediv"), 2),
    "switch": -2,
}
"""Operation that is known -> how many arguments it has; below zero: at least so many."""


class Operation(msgspec.Struct, frozen=True, tag_field="node", tag="operation", omit_defaults=True):
    """What a function makes of other nodes: arithmetic, or a function of the author's program.

    Attributes:
        name: One of `tune_bridge.laws.OPERATIONS`, HyperOpt's names; ``sample_from``, whose one
            argument is a reference to a function that is given the configuration; or a name that
            the author's program gave to a function of its own (HyperOpt's ``scope.define``).
        args: Arguments by position.
        kwargs: Arguments by name.

    Raises:
        SpecError: An operation that is known has another number of arguments.
    """

    name: str
    args: tuple[Node, ...] = ()
    kwargs: Group = Group()

    def __post_init__(self) -> None:
        wanted = ARITY.get(self.name)
        if wanted is None:
            return
        fits = len(self.args) >= -wanted if wanted < 0 else len(self.args) == wanted
        if not fits or self.kwargs.items:
            raise SpecError(
                f"{self.name} with other arguments than it takes",
                found=f"{len(self.args)} by position, {len(self.kwargs.items)} by name",
                expected=f"{abs(wanted)}{' or more' if wanted < 0 else ''} by position",
            )

    @property
    def arguments(self) -> list[tuple[str, Node]]:
        """All arguments with what stands for them in a path: ``[0]``, or ``.name``."""
        numbered = [(f"[{index}]", node) for index, node in enumerate(self.args)]
        return numbered + [(f".{name}", node) for name, node in self.kwargs.items]


Node = Constant | Parameter | Choice | Group | Sequence | Operation


class Place(NamedTuple):
    """A node somewhere in a tree.

    Attributes:
        path: Dotted, with an index in brackets for an option, an item or an argument without a
            name: ``model[1].lr``.
        node: What stands there.
        conditions: The choices above it and the options that have to be drawn, outermost first.
    """

    path: str
    node: Parameter | Choice | Constant | Sequence | Operation
    conditions: tuple[tuple[str, int], ...] = ()


def walk(
    node: Node, path: str = "", conditions: tuple[tuple[str, int], ...] = ()
) -> Iterator[Place]:
    """All nodes of a tree but its groups, those inside of options and lists included, in order."""
    if isinstance(node, Group):
        for name, child in node.items:
            yield from walk(child, f"{path}.{name}" if path else name, conditions)
        return
    yield Place(path, node, conditions)
    if isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from walk(item, f"{path}[{index}]", conditions)
    elif isinstance(node, Operation):
        for where, argument in node.arguments:
            yield from walk(argument, f"{path}{where}", conditions)
    elif isinstance(node, Choice) and not node.plain:
        for index, option in enumerate(node.options):
            yield from walk(option, f"{path}[{index}]", (*conditions, (path, index)))


def leaves(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node]]:
    """All nodes below `node` that are not groups, with their paths, in order.

    A choice, a sequence and an operation are leaves, whatever they hold; `walk` looks inside.
    """
    if isinstance(node, Group):
        for name, child in node.items:
            yield from leaves(child, (*path, name))
    else:
        yield path, node


def check_shared(space: Node) -> None:
    """Refuses places that share a label and not the law.

    Raises:
        SpecError: Naming both places.
    """
    first: dict[str, Place] = {}
    for place in walk(space):
        node = place.node
        if not isinstance(node, Parameter | Choice) or not node.shared:
            continue
        other = first.setdefault(node.label or place.path, place)
        if other.node != node:
            raise SpecError(
                f"one draw with two laws, at {other.path} and here",
                path=place.path,
                found=f"the label {node.label!r} twice",
                expected="equal nodes",
            )


_EXECUTED = ("eval", "grid_search")


def check_executable(node: Node, path: str = "") -> None:
    """Refuses mappings that Ray's variant generator would execute or expand.

    A dict whose only key is ``eval`` is evaluated as Python code inside a Tune config, and a lone
    ``grid_search`` is expanded; neither may come from a file or from a constant.

    Raises:
        SpecError: Naming the place.
    """
    if isinstance(node, Group):
        _refuse_lone(tuple(name for name, _ in node.items), path)
        for name, child in node.items:
            if type(child) is not Parameter:
                check_executable(child, f"{path}.{name}" if path else name)
    elif isinstance(node, Choice):
        for index, option in enumerate(node.options):
            if type(option) is not Constant or isinstance(option.value, dict | list | tuple):
                check_executable(option, f"{path}[{index}]")
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            check_executable(item, f"{path}[{index}]")
    elif isinstance(node, Operation):
        for where, argument in node.arguments:
            check_executable(argument, f"{path}{where}")
    elif isinstance(node, Constant):
        _check_value(node.value, path)


def _check_value(value: Any, path: str) -> None:
    if isinstance(value, dict):
        _refuse_lone(tuple(value), path)
        for key, item in value.items():
            _check_value(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_value(item, f"{path}[{index}]")


def _refuse_lone(keys: tuple[Any, ...], path: str) -> None:
    if len(keys) == 1 and keys[0] in _EXECUTED:
        raise SpecError(
            f"a mapping with the lone key {keys[0]!r}",
            path=path,
            found=f"{{{keys[0]}: ...}}",
            expected="another key beside it, or another name",
            hint="Ray Tune would execute or expand it as part of its own notation",
        )
