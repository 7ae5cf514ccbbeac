"""From the nested form that W&B draws to the value that a program was written for.

W&B's own agent hands out what `tune_bridge.dialects.sweep.conditions` wrote: a selector and every
branch, ``item_0``, ``item_1``, ... for a list, ``call`` and arguments for an operation. All names
follow from the tree alone, so that `fold` needs nothing but the configuration and the space.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tune_bridge.dialects.sweep.conditions import ITEM, branch_names
from tune_bridge.errors import InputError, NotFoundError, SpecError
from tune_bridge.experiment import Experiment
from tune_bridge.laws import OPERATIONS, SAMPLE_FROM, argument_names, operate
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Operation,
    Parameter,
    Sequence,
)
from tune_bridge.values import Frozen, Reference, plain_json, same_data

__all__ = ["fold", "fold_names", "read_parameter_file"]

Functions = Mapping[str, Callable[..., Any]]

Space = Group | Experiment | Mapping[str, Any] | str | os.PathLike[str]
"""A tree, an experiment, a sweep's config, or the file of one."""


def fold(
    config: Mapping[str, Any],
    space: Space,
    functions: Functions | None = None,
) -> Any:
    """The configuration that a program was written for, from the one that W&B's agent drew.

    The branch that a selector names takes the place of the selector and all branches, ``item_N``
    become a list or a tuple, arithmetic is done, places that share a draw get the first one's
    value, and values get the types that they have in Python: tuples, NaN, ints and floats. What is
    folded already, because tune-bridge or Ray drew it, stays as it is, and so does what the space
    does not know.

    Args:
        config: Names and values as W&B gives them, for example ``dict(wandb.config)``.
        space: The tree, an experiment, the sweep's config with its ``controller.tune``, or the path
            of its file.
        functions: Functions of the program that an operation may name; by default those that it
            gave to HyperOpt (``scope.define``), if it has loaded HyperOpt. Nothing is imported. An
            operation that names another one stays a mapping of its name and its arguments.

    Returns:
        A dict; for a space that is no mapping (a choice, a list, a call) its value.

    Raises:
        InputError: There is no such file, or no sweep in it.
        SpecError: A branch that the selector names is missing, an operation has no value, or a
            value is one that only a function makes, which W&B's agent does not call.

    Example:
        >>> from tune_bridge.space import Choice, Constant, Group, Parameter, Uniform
        >>> sgd = Group((("type", Constant.of("sgd")), ("momentum", Parameter(Uniform(0, 1)))))
        >>> space = Group((("optimizer", Choice((sgd, Constant.of("adam")))),))
        >>> drawn = {"optimizer": {"branch": "sgd", "sgd": {"type": "sgd", "momentum": 0.5}}}
        >>> fold(drawn, space)
        {'optimizer': {'type': 'sgd', 'momentum': 0.5}}
    """
    experiment = _experiment(space)
    folded = fold_names(config, experiment, _defined() if functions is None else functions)
    return folded if experiment.root is None else folded.get(experiment.root)


def fold_names(
    config: Mapping[str, Any], space: Space, functions: Functions | None = None
) -> dict[str, Any]:
    """As `fold`, and always a mapping: the value of a space that is none is under its one name."""
    return {**_Folder(functions or {}).fold(dict(config), _experiment(space).space, "")}


def read_parameter_file(path: str) -> dict[str, Any]:
    """Names and values in the file that W&B's agent writes for a run (``WANDB_SWEEP_PARAM_PATH``).

    Raises:
        InputError: There is no such file, or it is none of W&B's.
    """
    data = _load(path).data
    if not isinstance(data, Mapping) or data.get("wandb_version") != 1:
        raise SpecError("not the parameters of a run", source=path, expected="wandb_version: 1")
    entries = {key: entry for key, entry in data.items() if key != "wandb_version"}
    for key, entry in entries.items():
        if not isinstance(entry, Mapping) or "value" not in entry:
            raise SpecError("a parameter without a value", path=str(key), source=path)
    return {str(key): entry["value"] for key, entry in entries.items()}


def _load(path: str | os.PathLike[str]) -> Any:
    from tune_bridge.dialects.sweep import yaml_file

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError("the file cannot be read", source=str(path), found=str(error)) from None
    return yaml_file.load(text, str(path))


def _experiment(space: Space) -> Experiment:
    if isinstance(space, Experiment):
        return space
    if isinstance(space, Group):
        return Experiment(space=space)
    from tune_bridge.dialects.base import get_dialect

    if isinstance(space, str | os.PathLike):
        return get_dialect("sweep").read(_load(space)).value
    return get_dialect("sweep").read(space).value


def _defined() -> Functions:
    """What the program gave to HyperOpt, without what is HyperOpt's own."""
    module = sys.modules.get("hyperopt.pyll.base")
    if module is None:
        return {}
    from tune_bridge.dialects.hyperopt.signatures import refusal

    table = module.scope._impls
    return {n: f for n, f in table.items() if n not in OPERATIONS and not refusal(n)}


class _Folder:
    """Folds one configuration.

    Args:
        functions: Functions of the program, by name.
    """

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.drawn: dict[str, Any] = {}

    def fold(self, value: Any, node: Node, path: str) -> Any:
        if isinstance(node, Group):
            if not isinstance(value, Mapping):
                return value
            children = dict(node.items)
            return {
                name: self.fold(item, children[name], f"{path}.{name}" if path else str(name))
                if name in children
                else item
                for name, item in value.items()
            }
        if isinstance(node, Constant):
            return _exact(value, [node.value])
        if isinstance(node, Sequence):
            return self.sequence(value, node, path)
        if isinstance(node, Operation):
            return self.operation(value, node, path)
        if node.shared and node.label in self.drawn:
            return self.drawn[node.label]
        folded = self.searched(value, node, path)
        if node.shared and node.label is not None:
            self.drawn[node.label] = folded
        return folded

    def searched(self, value: Any, node: Parameter | Choice, path: str) -> Any:
        if isinstance(node, Parameter):
            return _typed(value, node)
        if node.plain:
            return _exact(value, node.values())
        selector, names = branch_names(node)
        if not isinstance(value, Mapping) or value.get(selector) not in names:
            return value
        index = names.index(value[selector])
        option = node.options[index]
        if isinstance(option, Constant):
            return option.value
        if names[index] not in value:
            raise SpecError(
                f"the branch {names[index]!r} is missing from the configuration",
                path=path,
                found=", ".join(map(str, value)),
                expected=names[index],
            )
        return self.fold(value[names[index]], option, f"{path}[{index}]")

    def sequence(self, value: Any, node: Sequence, path: str) -> Any:
        keys = [ITEM.format(index) for index in range(len(node.items))]
        if isinstance(value, Mapping) and set(value) == set(keys):
            value = [value[key] for key in keys]
        if not isinstance(value, list | tuple) or len(value) != len(keys):
            return value
        pairs = enumerate(zip(value, node.items, strict=True))
        items = [self.fold(item, child, f"{path}[{index}]") for index, (item, child) in pairs]
        return tuple(items) if node.kind == "tuple" else items

    def operation(self, value: Any, node: Operation, path: str) -> Any:
        if node.name == SAMPLE_FROM:
            function = node.args[0].value if isinstance(node.args[0], Constant) else None
            if isinstance(function, Reference) and value == str(function):
                raise SpecError(
                    f"the value that {function} makes was never drawn",
                    path=path,
                    expected="a run that tune-bridge started: W&B's own agent calls no functions",
                    hint="compute it in the program, or run the sweep with tune-bridge",
                )
            return value
        key, names = argument_names(node)
        if not isinstance(value, Mapping) or set(value) != {key, *names}:
            return value
        if value[key] != node.name:
            return value
        values = [
            self.fold(value[name], argument, f"{path}{where}")
            for name, (where, argument) in zip(names, node.arguments, strict=True)
        ]
        try:
            return operate(node, values, self.functions)
        except SpecError as error:
            error.path = error.path or path
            raise


def _typed(value: Any, node: Parameter) -> Any:
    """JSON may have turned 1.0 into 1; a law knows which of them it draws."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    law = node.distribution
    if not isinstance(law, Integers) and not law.integer:
        return float(value)
    return int(value) if value == int(value) else value


def _exact(value: Any, known: list[Any]) -> Any:
    """The one of some Python values that JSON would write as `value`; the value without any."""
    try:
        frozen = Frozen(value)
    except InputError:
        return value
    if any(Frozen(item) == frozen for item in known):
        return value
    return next((item for item in known if same_data(plain_json(item)[0], value)), value)
