"""Arguments as plain data: functions by reference, domains as nodes, objects as their arguments.

Lists, tuples and dicts are walked. In the data a mapping with one key stands for an object:
``{"$function": "module:name"}``, ``{"$domain": {...}}``, or a class of Ray and its arguments,
``{"TimeoutStopper": {"timeout": 60}}``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from tune_bridge.dialects.calls import Call, Signature
from tune_bridge.dialects.python_space import (
    TreeReader,
    anonymous,
    join,
    recall,
    same,
    short,
    type_name,
)
from tune_bridge.dialects.ray_tune.domains import LEAVES, write_config
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES
from tune_bridge.dialects.ray_tune.tables import CLASSES, Table
from tune_bridge.dialects.references import importable, reference
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.notes import Notes
from tune_bridge.space import Group
from tune_bridge.values import Frozen

__all__ = ["keep", "keep_arguments", "revive", "revive_arguments"]

_FUNCTION, _DOMAIN = "$function", "$domain"

_NONE_SAYS = ("resources_allocation_function",)
"""Arguments whose None is not their default; elsewhere it is Ray's way to say "the default"."""


def keep(value: Any, path: str) -> Any:
    """An argument as plain data.

    Args:
        value: As given, recorded or live.
        path: Where it stands, for errors.

    Raises:
        SpecError: A domain is malformed.
        UnsupportedError: An object or a function that has no name to find it by.
    """
    kept = _walk(value, path)
    try:
        return Frozen(kept, path).value
    except SpecError as error:
        raise UnsupportedError(
            "an object that cannot be written down",
            path=error.path or path,
            found=anonymous(error.found) or type_name(value),
            expected="plain values, domains, or functions importable by name",
            hint="leave it out here and give it to Ray when the search is run",
        ) from None


def _walk(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return {name: _walk(item, join(path, name)) for name, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_walk(item, f"{path}[{i}]") for i, item in enumerate(value))
    value = recall(value, {})
    if isinstance(value, Call):
        return _object(value, path)
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if hasattr(value, "__fspath__"):
        return str(value.__fspath__())
    if callable(value) or isinstance(value, Signature):
        return {_FUNCTION: importable(value, path, main=False)}
    return value


def _object(call: Call, path: str) -> Any:
    if call.name in CLASSES:
        return {call.name: keep_arguments(call, CLASSES[call.name], path)}
    if call.name in LEAVES and call.name != "tune.sample_from":
        from tune_bridge.dialects.sweep.carry import encode_node

        return {_DOMAIN: encode_node(TreeReader(LEAVES, Notes()).node(call, path))}
    raise UnsupportedError(
        f"{call.name} cannot be an argument here",
        path=path,
        expected="plain values, domains, or functions importable by name",
    )


def keep_arguments(call: Call, table: Table, path: str, skip: tuple[str, ...] = ()) -> Any:
    """The arguments of a call that are not at their defaults, as plain data.

    Args:
        call: A searcher, a scheduler, a stopper, or ``tune.run``.
        table: What becomes of each argument.
        path: Where the call stands.
        skip: Arguments that are read by other means.

    Raises:
        UnsupportedError: An argument that is refused; the message says why.
    """
    kept: dict[str, Any] = {}
    for name, value in call.arguments.items():
        argument = table.get(name)
        default = call.signature.signature.parameters[name].default
        if name in skip or argument.how == "native" or same(value, default):
            continue
        if value is None and name not in _NONE_SAYS:
            continue
        if argument.how == "refused":
            raise UnsupportedError(
                f"{name} of {table.name} cannot be written down",
                path=join(path, name),
                found=short(value),
                hint=argument.detail,
            )
        if argument.text.startswith("*") and not value:
            continue
        kept[name] = keep(value, join(path, name))
    return kept


def revive(data: Any, path: str = "") -> Any:
    """The inverse of `keep`, with calls and signatures for objects.

    Raises:
        SpecError: The data, which may come from a file, is not what `keep` writes.
    """
    if isinstance(data, list):
        return [revive(item, path) for item in data]
    if isinstance(data, tuple):
        return tuple(revive(item, path) for item in data)
    if not isinstance(data, dict):
        return data
    if len(data) == 1:
        ((tag, content),) = data.items()
        if tag == _FUNCTION and isinstance(content, str) and ":" in content:
            return reference(content, path)
        if tag == _DOMAIN:
            from tune_bridge.dialects.sweep.carry import decode_node

            node = decode_node(content, path)
            return write_config(Group((("domain", node),)), Notes())["domain"]
        if tag in CLASSES and isinstance(content, Mapping):
            return revive_arguments(str(tag), dict(content), path)
    return {name: revive(item, join(path, name)) for name, item in data.items()}


def revive_arguments(kind: str, args: Mapping[str, Any], path: str, **held: Any) -> Call:
    """The call of a class with kept arguments and those that the experiment holds.

    Raises:
        SpecError: The class has no such argument, or needs one that is not there.
    """
    signature = SIGNATURES[kind]
    parameters = signature.signature.parameters
    unknown = [name for name in args if name not in parameters]
    if unknown:
        raise SpecError(
            f"{kind} has no such argument",
            path=join(path, unknown[0]),
            expected=f"one of {', '.join(parameters)}",
        )
    given = {**held, **{name: revive(value, join(path, name)) for name, value in args.items()}}
    for name, parameter in parameters.items():
        kinds = (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        required = parameter.default is parameter.empty and parameter.kind not in kinds
        if required and name not in given:
            raise SpecError(f"{kind} without {name}", path=join(path, name))
        if parameter.kind is parameter.VAR_POSITIONAL and name in given:
            given[name] = tuple(given[name])
    return Call(signature, {name: given[name] for name in parameters if name in given})
