"""Configurations of an experiment, drawn from a seed, without an engine."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from typing import Any

from tune_bridge import laws
from tune_bridge.errors import SpecError
from tune_bridge.experiment import Experiment
from tune_bridge.space import Choice, Constant, Group, Node, Parameter

__all__ = ["configurations", "grid_nodes"]


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
    number = 0
    points = [point.value for point in experiment.points]
    for _ in draws:
        for space in _cells(experiment.space):
            if number >= limit:
                return
            drawn = laws.sample(space, rng)
            if number < len(points):
                drawn = _merge(drawn, points[number])
            number += 1
            yield drawn


def _merge(base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _cells(space: Group) -> Iterator[Group]:
    """The space with its grids replaced by one value each, lazily."""
    options = {path: grid_nodes(node, ".".join(path)) for path, node in _grids(space)}
    if not options:
        yield space
        return
    paths = sorted(options)
    for chosen in itertools.product(*(options[path] for path in paths)):
        yield _fix(space, dict(zip(paths, chosen, strict=True)), ())


def _grids(
    group: Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Parameter | Choice]]:
    for name, node in group.items:
        if isinstance(node, Group):
            yield from _grids(node, (*path, name))
        elif isinstance(node, Parameter | Choice) and node.grid:
            yield (*path, name), node


def grid_nodes(node: Parameter | Choice, path: str) -> list[Node]:
    """The values of a grid, as nodes.

    Raises:
        SpecError: The values cannot be enumerated.
    """
    if isinstance(node, Choice):
        return list(node.options)
    values = laws.grid_values(node.distribution)
    if values is None:
        raise SpecError("a grid over a parameter that cannot be enumerated", path=path)
    return [Constant.of(value) for value in values]


def _fix(group: Group, chosen: dict[tuple[str, ...], Node], path: tuple[str, ...]) -> Group:
    items: list[tuple[str, Node]] = []
    for name, node in group.items:
        here = (*path, name)
        if here in chosen:
            items.append((name, chosen[here]))
        else:
            items.append((name, _fix(node, chosen, here) if isinstance(node, Group) else node))
    return Group(tuple(items))
