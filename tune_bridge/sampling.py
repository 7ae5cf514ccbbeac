"""Configurations of an experiment, drawn from a seed, without an engine."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from tune_bridge import laws
from tune_bridge.engines.configs import initial_points
from tune_bridge.engines.native.draws import Cells, complete, handles
from tune_bridge.errors import SpecError
from tune_bridge.experiment import Experiment
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Node,
    Operation,
    Parameter,
    Sequence,
    walk,
)

__all__ = ["configurations", "grid_nodes"]

_Path = tuple[str | int, ...]


def configurations(experiment: Experiment, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Draws configurations, Tune's way of counting.

    Every draw of the space runs its whole grid, random parameters are drawn again for each cell,
    and the initial points come first. Grids are enumerated lazily, the last name (sorted) varying
    fastest, as W&B does. The searcher plays no part: these are draws from the space itself.

    Args:
        experiment: What is drawn from.
        seed: Equal seeds give equal configurations.

    Yields:
        Nested configurations, constants included; without end when ``num_samples`` is None.

    Raises:
        SpecError: A grid over a parameter without an end.
    """
    rng = random.Random(seed)
    # A grid that is repeated without end is what Tune's -1 means; W&B's grid has num_samples 1.
    draws = itertools.count() if experiment.num_samples is None else range(experiment.num_samples)
    limit = math.inf if experiment.run_cap is None else experiment.run_cap
    constant = bool(experiment.searcher.arg("constant_grid_search", default=False))
    number, points = 0, initial_points(experiment)
    cells = Cells(experiment.space) if handles(experiment.space) and not constant else None
    for _ in draws:
        for drawn in (
            _variants(experiment.space, rng, constant)
            if cells is None
            else (cells.draw(cell, rng) for cell in range(cells.size))
        ):
            if number >= limit:
                return
            if number < len(points):
                drawn = complete(  # noqa: PLW2901 - the same draw
                    experiment.space, drawn, points[number], rng
                )
            number += 1
            yield drawn


def _variants(space: Group, rng: random.Random, constant: bool) -> Iterator[dict[str, Any]]:
    """All configurations of one draw of the space: one per cell of its grids.

    As Ray's ``generate_variants`` does it: random parameters are drawn for each cell, or for
    `constant` before the cells; a drawn option, or a grid's value, may hold grids and parameters
    again, which are met in a further round with everything else fixed.
    """
    grids = {path: node for path, node in _places(space) if getattr(node, "grid", False)}
    drawn = _drawn(space, rng) if constant else space
    for cell in _cells(drawn, grids):
        # What a grid's value holds is met in the next round; what stands beside it now.
        if not constant:
            fixed = _drawn(space, rng)
            cell = _fix(fixed, {path: _at(cell, path) for path in grids}, ())  # noqa: PLW2901
        if any(not isinstance(node, Constant) for _, node in _places(cell)):
            yield from _variants(cell, rng, constant)
        else:
            yield laws.sample(cell, rng)


def _cells(space: Group, grids: dict[_Path, Node]) -> Iterator[Group]:
    """The space with its grids replaced by one value each, lazily."""
    if not grids:
        yield space
        return
    paths = sorted(grids, key=lambda path: [str(part) for part in path])
    options = [grid_nodes(grids[path], ".".join(map(str, path))) for path in paths]
    for chosen in itertools.product(*options):
        yield _fix(space, dict(zip(paths, chosen, strict=True)), ())


def _drawn(space: Group, rng: random.Random) -> Group:
    """The space with everything drawn but grids; a drawn option may hold more."""
    found: dict[_Path, Node] = {}
    shared: dict[str | None, Node] = {}
    for path, node in _places(space):
        if isinstance(node, Parameter | Choice) and not node.grid:
            value = shared.get(node.label) if node.shared else None
            found[path] = _draw(node, rng) if value is None else value
            if node.shared:
                shared[node.label] = found[path]
        elif isinstance(node, Operation):
            found[path] = Constant.of(laws.sample(node, rng))
    return _fix(space, found, ())


def _draw(node: Parameter | Choice, rng: random.Random) -> Node:
    if isinstance(node, Parameter):
        return Constant.of(laws.sample(node, rng))
    numbers = tuple(Constant.of(index) for index in range(len(node.options)))
    index: int = laws.sample(Choice(numbers, node.weights), rng)
    return node.options[index]


def _places(node: Node, path: _Path = ()) -> Iterator[tuple[_Path, Node]]:
    """The leaves outside of options, those of lists included."""
    if isinstance(node, Group):
        for name, child in node.items:
            yield from _places(child, (*path, name))
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from _places(item, (*path, index))
    else:
        yield path, node


def _below(space: Group) -> Iterator[Node]:
    """All options of all choices outside of options."""
    for _, node in _places(space):
        if isinstance(node, Choice):
            yield from node.options


def _holds_grid(node: Node) -> bool:
    return any(getattr(place.node, "grid", False) for place in walk(node))


def _at(node: Node, path: _Path) -> Node:
    for part in path:
        if isinstance(node, Group):
            node = dict(node.items)[str(part)]
        elif isinstance(node, Sequence):
            node = node.items[int(part)]
    return node


def grid_nodes(node: Node, path: str) -> list[Node]:
    """The values of a grid, as nodes.

    Raises:
        SpecError: The values cannot be enumerated.
    """
    if isinstance(node, Choice):
        return list(node.options)
    values = laws.grid_values(node.distribution) if isinstance(node, Parameter) else None
    if values is None:
        raise SpecError("a grid over a parameter that cannot be enumerated", path=path)
    return [Constant.of(value) for value in values]


def _fix(group: Group, chosen: Mapping[_Path, Node], path: _Path) -> Group:
    if not chosen:
        return group
    return Group(tuple((name, _fixed(node, chosen, (*path, name))) for name, node in group.items))


def _fixed(node: Node, chosen: Mapping[_Path, Node], path: _Path) -> Node:
    if path in chosen:
        return chosen[path]
    if isinstance(node, Group):
        return _fix(node, chosen, path)
    if isinstance(node, Sequence):
        items = enumerate(node.items)
        return Sequence(
            tuple(_fixed(item, chosen, (*path, index)) for index, item in items), node.kind
        )
    return node
