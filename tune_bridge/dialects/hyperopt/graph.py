"""HyperOpt's graphs, made node by node: what ``hp.*`` makes, in a fraction of the time.

``hp.uniform`` makes five nodes, each through a wrapper that validates, a symbol table that wraps
what is wrapped already, and a constructor with three assertions. The spaces that come here have
been read and checked, so that the nodes are made as the constructors leave them. A test compares
each node with that of ``hp.*``; what is not as plain as a reader leaves it is given to ``hp.*``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hyperopt import hp
from hyperopt.pyll import scope
from hyperopt.pyll.base import Apply, Literal, as_apply

__all__ = ["MAKERS"]

_NUMBERS = frozenset((int, float))


def _apply(name: str, inputs: list[Any], o_len: int | None = None, pure: bool = False) -> Any:
    """``Apply(name, inputs, [])`` without its assertions."""
    node = Apply.__new__(Apply)
    node.name = name
    node.pos_args = inputs
    node.named_args = []
    node.o_len = o_len
    node.pure = pure
    node.define_params = None
    return node


def _literal(value: Any, o_len: int | None = None) -> Any:
    """``Literal(value)`` of something whose length is known."""
    node = Literal.__new__(Literal)
    node.name = "literal"
    node.pos_args = []
    node.named_args = []
    node.o_len = o_len
    node.pure = True
    node.define_params = None
    node._obj = value
    return node


def _node(value: Any) -> Any:
    """``as_apply(value)``."""
    kind = type(value)
    if kind is str:
        return _literal(value, len(value))
    if kind is float or kind is int or kind is bool or value is None:
        return _literal(value)
    if kind is Apply:
        return value
    if kind is tuple:
        return _apply("pos_args", [_node(item) for item in value], len(value))
    if kind is list:
        return _apply("pos_args", [_node(item) for item in value])
    if kind is dict and all(type(key) is str for key in value):
        node = _apply("dict", [], len(value))
        node.named_args = [[key, _node(value[key])] for key in sorted(value)]
        return node
    return as_apply(value)


_DEFINED = {
    name: (entry.o_len, entry.pure)
    for name in (
        *("hyperopt_param", "switch", "uniform", "quniform", "loguniform", "qloguniform"),
        *("normal", "qnormal", "lognormal", "qlognormal", "randint", "categorical"),
    )
    for entry in [getattr(scope, name)]
}
"""Operation -> the length and the purity that it is defined with."""
_PARAM, _SWITCH = _DEFINED["hyperopt_param"], _DEFINED["switch"]


def _labelled(label: str, law: Any) -> Any:
    return _apply("hyperopt_param", [_literal(label, len(label)), law], *_PARAM)


def _law(name: str, bounded: bool) -> Callable[..., Any]:
    """``hp.<name>`` of a law with numbers for arguments."""
    theirs, defined = getattr(hp, name), _DEFINED[name]

    def make(label: Any, *numbers: Any) -> Any:
        if type(label) is not str or not _NUMBERS.issuperset(map(type, numbers)):
            return theirs(label, *numbers)
        if len(numbers) < 2 or (bounded and not numbers[0] < numbers[1]):
            return theirs(label, *numbers)
        law = _apply(name, [_literal(n) for n in numbers], *defined)
        return _apply("float", [_labelled(label, law)], None, True)

    return make


def _randint(label: Any, *numbers: Any) -> Any:
    if type(label) is not str or not _NUMBERS.issuperset(map(type, numbers)):
        return hp.randint(label, *numbers)
    law = _apply("randint", [_literal(n) for n in numbers], *_DEFINED["randint"])
    return _apply("int", [_labelled(label, law)], None, True)


def _uniformint(label: Any, *numbers: Any) -> Any:
    plain = type(label) is str and _NUMBERS.issuperset(map(type, numbers))
    if not plain or len(numbers) != 2 or not numbers[0] < numbers[1]:
        return hp.uniformint(label, *numbers)
    law = _apply("quniform", [_literal(n) for n in numbers], *_DEFINED["quniform"])
    law.named_args = [["q", _literal(1.0)]]
    return _apply("int", [_apply("float", [_labelled(label, law)], None, True)], None, True)


def _choice(label: Any, options: Any) -> Any:
    if type(label) is not str:
        return hp.choice(label, options)
    law = _apply("randint", [_literal(len(options))], *_DEFINED["randint"])
    return _apply("switch", [_labelled(label, law), *map(_node, options)], *_SWITCH)


def _pchoice(label: Any, p_options: Any) -> Any:
    if type(label) is not str or not p_options:
        return hp.pchoice(label, p_options)
    weights = tuple(weight for weight, _ in p_options)
    law = _apply("categorical", [_node(weights)], *_DEFINED["categorical"])
    options = [_node(option) for _, option in p_options]
    return _apply("switch", [_labelled(label, law), *options], *_SWITCH)


def _int(value: Any) -> Any:
    return _apply("int", [_node(value)], None, True)


MAKERS: dict[str, Callable[..., Any]] = {
    **{
        f"hp.{name}": _law(name, bounded="uniform" in name)
        for name in ("uniform", "quniform", "loguniform", "qloguniform")
    },
    **{
        f"hp.{name}": _law(name, bounded=False)
        for name in ("normal", "qnormal", "lognormal", "qlognormal")
    },
    "hp.randint": _randint,
    "hp.uniformint": _uniformint,
    "hp.choice": _choice,
    "hp.pchoice": _pchoice,
    "scope.int": _int,
}
"""Name of a function -> one that makes the same of the arguments by position."""
