"""The carry: what a sweep's native keys cannot say, as plain data under ``controller.tune``.

The writer puts here exactly what reading the native keys back would not give. The reader trusts an
entry only while the native keys still say what that entry would write: whoever edits
``parameters.lr`` by hand gets the edited parameter, and a note. W&B's schema accepts any content of
``controller`` beside ``type`` (both released versions), so that the file passes without a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tune_bridge.dialects.sweep.conditions import adopt
from tune_bridge.errors import InputError, SpecError
from tune_bridge.experiment import ROOT, Algorithm, Experiment
from tune_bridge.notes import Notes
from tune_bridge.space import Group, Node, check_shared, leaves
from tune_bridge.values import Frozen, same_data

__all__ = ["VERSION", "apply_carry", "make_carry"]

VERSION = 1

PATH = "controller.tune"


# Nodes --------------------------------------------------------------------------------------------


def _encode_hook(value: Any) -> Any:
    if isinstance(value, Frozen):
        return value.data
    raise TypeError(f"{type(value).__name__} in a carry")


def _decode_hook(kind: type, data: Any) -> Any:
    if kind is Frozen:
        return Frozen.from_data(data)
    raise TypeError(f"{kind.__name__} in a carry")


def encode_node(node: Node) -> dict[str, Any]:
    """A node as plain data."""
    data: dict[str, Any] = _lists(msgspec.to_builtins(node, enc_hook=_encode_hook))
    return data


def _lists(data: Any) -> Any:
    """YAML and JSON have lists only; what is read back must compare equal to what was written."""
    if isinstance(data, dict):
        return {key: _lists(item) for key, item in data.items()}
    if isinstance(data, list | tuple):
        return [_lists(item) for item in data]
    return data


def decode_node(data: Any, path: str) -> Node:
    """The inverse of `encode_node`.

    Raises:
        SpecError: The data is not a node.
    """
    try:
        node: Node = msgspec.convert(data, Node, dec_hook=_decode_hook)
    except (msgspec.ValidationError, TypeError) as error:
        raise SpecError(f"not a carried parameter: {error}", path=path) from None
    except InputError as error:
        error.path = path
        raise
    return node


# Fields -------------------------------------------------------------------------------------------


def _algorithm_data(value: Algorithm | None) -> Any:
    return None if value is None else {value.kind: value.args.data}


def _algorithm(data: Any) -> Algorithm | None:
    if data is None:
        return None
    ((kind, args),) = data.items()
    if not isinstance(kind, str) or not isinstance(args, Mapping):
        raise TypeError
    return Algorithm(kind, Frozen.from_data(dict(args)))


def _identity(value: Any) -> Any:
    return value


def _frozen_data(value: Frozen) -> Any:
    return value.data


class _Field:
    """One attribute of the experiment in the carry.

    Args:
        attribute: The experiment's attribute.
        native: The top-level keys of a sweep that speak of it too.
        encode: To plain data.
        decode: From plain data; any of KeyError, TypeError, ValueError when it is not that.
    """

    def __init__(
        self,
        attribute: str,
        native: tuple[str, ...] = (),
        encode: Callable[[Any], Any] = _identity,
        decode: Callable[[Any], Any] = _identity,
    ) -> None:
        self.attribute = attribute
        self.native = native
        self.encode = encode
        self.decode = decode


def _typed(*kinds: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) not in kinds:
            raise TypeError
        return value

    return check


_INT_OR_NONE = _typed(int, type(None))
_TEXT_OR_NONE = _typed(str, type(None))


def _root(value: Any) -> str:
    if value != ROOT:
        raise ValueError
    return ROOT


def _mapping(data: Any) -> Frozen:
    return Frozen.from_data(_typed(dict)(data))


FIELDS: dict[str, _Field] = {
    "search_alg": _Field("searcher", ("method",), _algorithm_data, _algorithm),
    "scheduler": _Field("scheduler", ("early_terminate",), _algorithm_data, _algorithm),
    "num_samples": _Field("num_samples", ("run_cap",), decode=_INT_OR_NONE),
    "run_cap": _Field("run_cap", ("run_cap",), decode=_INT_OR_NONE),
    "trainable": _Field("trainable", decode=_TEXT_OR_NONE),
    "stop": _Field("stop", (), _frozen_data, _mapping),
    "points_to_evaluate": _Field(
        "points",
        (),
        lambda points: [point.data for point in points],
        lambda data: tuple(Frozen.from_data(point) for point in _typed(list)(data)),
    ),
    "seed": _Field("seed", decode=_INT_OR_NONE),
    "max_concurrent_trials": _Field("max_concurrent", decode=_INT_OR_NONE),
    "resources_per_trial": _Field("resources", (), _frozen_data, _mapping),
    "root": _Field("root", decode=_root),
    "space_in": _Field("space_in", decode=_typed(str)),
    "extras": _Field("extras", (), _frozen_data, _mapping),
}
"""Key in the carry -> attribute of the experiment. Names are Tune's."""


def make_carry(experiment: Experiment, native: Experiment) -> dict[str, Any]:
    """What `native`, the native keys read back, does not say of `experiment`; or {}."""
    carry: dict[str, Any] = {}
    for key, field in FIELDS.items():
        value = getattr(experiment, field.attribute)
        if value != getattr(native, field.attribute):
            carry[key] = field.encode(value)
    said = dict(leaves(native.space))
    space = {
        "/".join(path): encode_node(node)
        for path, node in leaves(experiment.space)
        if said.get(path) != node
    }
    if space:
        carry["space"] = space
    return {"version": VERSION, **carry} if carry else {}


def apply_carry(
    carry: Any,
    native: Experiment,
    config: Mapping[str, Any],
    write_native: Callable[[Experiment], Mapping[str, Any]],
    write_node: Callable[[Node, str], Any],
    read_node: Callable[[Any, str], Node],
    notes: Notes,
) -> Experiment:
    """Puts carried values in place of the native ones, where the native keys still agree.

    Args:
        carry: The block.
        native: What the native keys say.
        config: The sweep.
        write_native: The native keys that an experiment is written as.
        write_node: The entry of ``parameters`` that a node is written as.
        read_node: The node that an entry of ``parameters`` says.
        notes: Gets a note for every entry that is not used.

    Raises:
        SpecError: The block is malformed.
    """
    if not isinstance(carry, Mapping):
        raise SpecError("not a carry", path=PATH, found=repr(carry)[:40], expected="a mapping")
    version = carry.get("version")
    if version != VERSION:
        raise SpecError(
            "a carry of another version",
            path=f"{PATH}.version",
            found=repr(version),
            expected=str(VERSION),
            hint="use the version of tune-bridge that wrote the file, or remove the block",
        )
    for key in carry:
        if key not in FIELDS and key not in ("version", "space"):
            raise SpecError("unknown key in the carry", path=f"{PATH}.{key}")
    experiment = native.replace(
        space=_apply_space(
            carry.get("space", {}), native.space, config, write_node, read_node, notes
        )
    )
    for key, field in FIELDS.items():
        if key not in carry:
            continue
        try:
            value = field.decode(carry[key])
            changed = experiment.replace(**{field.attribute: value})
        except (AttributeError, KeyError, TypeError, ValueError):
            raise SpecError(
                "malformed", path=f"{PATH}.{key}", found=repr(carry[key])[:60]
            ) from None
        _check(key, value, f"{PATH}.{key}")
        if field.native and not _agrees(field.native, changed, config, write_native):
            _stale(notes, f"{PATH}.{key}", " and ".join(field.native))
            continue
        experiment = changed
    return experiment


def _check(key: str, value: Any, path: str) -> None:
    """Refuses classes of Ray that there are not, and arguments that they have not.

    Raises:
        SpecError: Naming the place.
    """
    if value is None or key not in ("search_alg", "scheduler", "stop"):
        return
    from tune_bridge.dialects.ray_tune.arguments import check_algorithm, check_objects

    if key == "stop":
        check_objects(value.value, path)
    else:
        check_algorithm(key, value, path)


def _agrees(
    keys: tuple[str, ...],
    experiment: Experiment,
    config: Mapping[str, Any],
    write_native: Callable[[Experiment], Mapping[str, Any]],
) -> bool:
    try:
        written = write_native(experiment)
    except InputError:
        return False
    return all(same_data(written.get(key), config.get(key)) for key in keys)


def _stale(notes: Notes, path: str, native: str) -> None:
    notes.exact(
        path,
        f"not used: {native} was edited since it was written",
        "the native keys are what W&B runs, so they count",
        "write the file again to bring the carry up to date",
    )


def _apply_space(
    carried: Any,
    space: Group,
    config: Mapping[str, Any],
    write_node: Callable[[Node, str], Any],
    read_node: Callable[[Any, str], Node],
    notes: Notes,
) -> Group:
    if not isinstance(carried, Mapping):
        raise SpecError("malformed", path=f"{PATH}.space", found=repr(carried)[:40])
    nodes: dict[tuple[str, ...], Node] = {}
    for key, data in carried.items():
        path = tuple(str(key).split("/"))
        node = decode_node(data, f"{PATH}.space.{key}")
        entry, where = _entry(config, path), f"parameters.{'.'.join(path)}"
        changed: list[str] = []
        found = adopt(node, _explicit(entry), where, write_node, read_node, changed)
        if found is None:
            _stale(notes, f"{PATH}.space.{key}", where)
            continue
        for edited in changed:
            _stale(notes, f"{PATH}.space.{key}", edited)
        nodes[path] = found
    whole = _replace(space, nodes, ())
    check_shared(whole)
    return whole


def _entry(config: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    entry: Any = {"parameters": config.get("parameters")}
    for name in path:
        below = entry.get("parameters") if isinstance(entry, Mapping) else None
        entry = below.get(name) if isinstance(below, Mapping) else None
    return entry


def _explicit(entry: Any) -> Any:
    """W&B's ``SweepConfig`` fills in ``distribution: constant``; it says nothing new."""
    if isinstance(entry, Mapping) and entry.get("distribution") == "constant":
        return {key: value for key, value in entry.items() if key != "distribution"}
    return entry


def _replace(group: Group, nodes: Mapping[tuple[str, ...], Node], path: tuple[str, ...]) -> Group:
    if not nodes:
        return group
    items: list[tuple[str, Node]] = []
    for name, child in group.items:
        here = (*path, name)
        if here in nodes:
            items.append((name, nodes[here]))
        elif isinstance(child, Group):
            items.append((name, _replace(child, nodes, here)))
        else:
            items.append((name, child))
    return Group(tuple(items))
