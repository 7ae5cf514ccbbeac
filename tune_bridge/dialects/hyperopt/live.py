"""Live HyperOpt graphs as calls.

The shapes are those of hyperopt 0.3: a parameter is ``hyperopt_param(label, distribution)`` inside
a ``float`` or an ``int``, a choice is a ``switch`` on one, and a dict, a list and a tuple are
``Apply`` nodes as well. Arguments are read through ``.arg``, which joins positional and named ones.
(``hyperopt.pyll_utils.expr_to_config`` cannot be used: it fails on every ``hp.pchoice``.)
"""

from __future__ import annotations

from typing import Any

from tune_bridge.dialects.calls import Call
from tune_bridge.dialects.hyperopt.signatures import SIGNATURES, scope

__all__ = ["recall"]

_INDEX = {"randint": "hp.choice", "categorical": "hp.pchoice"}
"""Distribution of a switch's index -> the function that made the switch."""


def recall(value: Any, memo: dict[int, Any]) -> Any:
    """Turns a pyll node into a call, or into the plain value that it holds.

    Args:
        value: An object of a class of HyperOpt.
        memo: What nodes were turned into, by id.

    Returns:
        A `Call` of an ``hp`` or ``scope`` function, a dict, list or tuple of live nodes, the object
        of a literal, or `value` itself when it is no node.
    """
    if not hasattr(value, "pos_args"):
        return value
    if id(value) not in memo:
        memo[id(value)] = _node(value, memo)
    return memo[id(value)]


def _node(node: Any, memo: dict[int, Any]) -> Any:
    name, inputs = node.name, node.pos_args
    if name == "literal":
        return node.obj
    if name == "pos_args":
        # A tuple knows its length, a list does not: that is how as_apply makes them.
        return list(inputs) if node.o_len is None else tuple(inputs)
    if name == "dict" and not inputs:
        return dict(node.named_args)
    if name == "dict":
        pairs = (recall(pair, memo) for pair in recall(inputs[0], memo))
        return {recall(key, memo): item for key, item in pairs}
    if name == "hyperopt_param":
        return _parameter(node, memo)
    if name == "float" and inputs[0].name == "hyperopt_param":
        return recall(inputs[0], memo)
    if name == "switch":
        choice = _switch(inputs, memo)
        if choice is not None:
            return choice
    if name in ("int", "float"):
        return Call(scope(name), {"obj": inputs[0]})
    return Call(scope(name), {"args": tuple(inputs), "kwargs": dict(node.named_args)})


def _parameter(node: Any, memo: dict[int, Any]) -> Call:
    distribution = node.arg["obj"]
    signature = SIGNATURES.get(f"hp.{distribution.name}")
    if signature is None or distribution.name in ("choice", "pchoice"):
        return Call(scope("hyperopt_param"), {"args": tuple(node.pos_args)})
    arguments: dict[str, Any] = {"label": _label(node, memo)}
    bound = distribution.arg
    for name in signature.signature.parameters:
        argument = bound.get(name)
        # A missing argument is the class MissingArgument itself.
        if argument is not None and not isinstance(argument, type):
            arguments[name] = recall(argument, memo)
    if distribution.name == "randint" and arguments.get("high") is None:
        arguments.pop("high", None)
    return Call(signature, arguments)


def _label(node: Any, memo: dict[int, Any]) -> Any:
    label = recall(node.arg["label"], memo)
    return label.decode() if isinstance(label, bytes) else label


def _switch(inputs: list[Any], memo: dict[int, Any]) -> Call | None:
    index, *options = inputs
    if index.name != "hyperopt_param":
        return None
    distribution = index.arg["obj"]
    made_by = _INDEX.get(getattr(distribution, "name", ""))
    if made_by is None:
        return None
    arguments: dict[str, Any] = {"label": _label(index, memo)}
    if made_by == "hp.choice":
        arguments["options"] = options
        return Call(SIGNATURES[made_by], arguments)
    weights = [recall(weight, memo) for weight in recall(distribution.arg["p"], memo)]
    arguments["p_options"] = list(zip(weights, options, strict=False))
    return Call(SIGNATURES[made_by], arguments)
