"""Random search and grids, W&B's way: random draws, every cell of a grid, or both.

A configuration is a function of its number and of the draws before it: nothing is enumerated, so
that a grid of any size costs nothing. The order of a grid is W&B's: parameters sorted by name, the
last one varying fastest (``sweeps.grid_search``); each of ``num_samples`` draws runs the whole
grid, with its random parameters drawn again for each cell (Ray Tune's rule).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from tune_bridge import laws
from tune_bridge.engines.configs import canonical, initial_points, match
from tune_bridge.engines.native import points
from tune_bridge.engines.parts import EXHAUSTED, Proposal, Proposer, Refused
from tune_bridge.engines.results import plain
from tune_bridge.errors import SpecError
from tune_bridge.experiment import Experiment
from tune_bridge.space import Choice, Group, Node, Operation, Parameter, leaves, walk

__all__ = ["Cells", "Draws", "complete", "handles"]

_TRIES = 100
"""Draws before a point that is not taken yet is looked for one after the other."""


class Draws(Proposer):
    """Random draws and grids.

    ``unique: true`` among the searcher's arguments draws without replacement: a configuration comes
    once, and a finite space is used up. A grid is used up in any case.

    Args:
        experiment: What is drawn from; see `handles`.
        seed: Decides the draws, where the experiment has no seed of its own.

    Raises:
        SpecError: A grid over a parameter without an end.
        InputError: An initial point does not fit the space.
    """

    foreign = False

    def __init__(self, experiment: Experiment, seed: int) -> None:
        self._space = experiment.space
        self._rng = random.Random(seed if experiment.seed is None else experiment.seed)
        self._points = initial_points(experiment)
        self._number = 0  # draws so far
        self._taken: set[str] = set()
        self._only_grid = experiment.is_grid and experiment.num_samples == 1
        self._grid = Cells(self._space)
        samples = experiment.num_samples
        self.total = None if samples is None else samples * self._grid.size
        self._size: int | None = None
        if experiment.searcher.arg("unique", False) and not self._grid.any:
            self._size = points.count(experiment.space)
            if self._size is not None:
                self.total = self._size if self.total is None else min(self.total, self._size)
        laws.sample(self._space, random.Random(0))  # what cannot be drawn is refused at once

    def propose(self, run: str) -> Proposal | Refused:
        """The next cell, or a draw."""
        if self._size is not None:
            return self._unique()
        if self._only_grid:
            return self._next_cell()
        number, self._number = self._number, self._number + 1
        config = self._cell(number % self._grid.size)
        if number < len(self._points):
            config = complete(self._space, config, self._points[number], self._rng)
        return Proposal(config, {"grid": number % self._grid.size} if self._grid.any else {})

    def enqueued(self, run: str, config: Mapping[str, Any]) -> None:
        """A point of a finite search that somebody wants now is not run again later."""
        if self._only_grid or self._size is not None:
            self._taken.add(canonical(config))

    def _next_cell(self) -> Proposal | Refused:
        """The points to try first, then each cell that is not taken."""
        while True:
            config, info = None, {}
            if self._points:
                config = complete(self._space, self._cell(0), self._points.pop(0), self._rng)
            elif self._number >= self._grid.size:
                return Refused(
                    f"all {self._grid.size} points of the grid have been given", final=True
                )
            else:
                config, info = self._cell(self._number), {"grid": self._number}
                self._number += 1
            if not info or self._taken:
                key = canonical(config)
                if key in self._taken:
                    continue
                if not info:
                    self._taken.add(key)
            return Proposal(config, info)

    def _unique(self) -> Proposal | Refused:
        """A draw that has not come yet: redrawn, and at last the next free point."""
        assert self._size is not None
        while self._points:
            config = complete(self._space, self._cell(0), self._points.pop(0), self._rng)
            if self._take(config):
                return Proposal(config)
        if len(self._taken) >= self._size:
            return EXHAUSTED
        for _ in range(_TRIES):
            config = self._cell(0)
            if self._take(config):
                return Proposal(config)
        index = self._rng.randrange(self._size)
        while not self._take(config := points.point(self._space, index)):
            index = (index + 1) % self._size
        return Proposal(config)

    def _take(self, config: dict[str, Any]) -> bool:
        key = canonical(config)
        free = key not in self._taken
        self._taken.add(key)
        return free

    def _cell(self, number: int) -> dict[str, Any]:
        made: dict[str, Any] = plain(self._grid.draw(number, self._rng))
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_grid"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._grid = Cells(self._space)


class Cells:
    """The cells of a space's grid, none of which is made before it is asked for.

    Args:
        space: See `handles`; without a grid it has one cell.

    Raises:
        SpecError: A grid over a parameter without an end.
    """

    def __init__(self, space: Group) -> None:
        axes = {
            path: node
            for path, node in leaves(space)
            if isinstance(node, Parameter | Choice) and node.grid
        }
        paths = sorted(axes)
        sizes = [_size(axes[path], path) for path in paths]
        self._radices = list(enumerate(sizes))[::-1]
        self._chosen = [0] * len(paths)
        self.size = math.prod(sizes)
        self.any = bool(axes)
        self._draw = laws.drawer(
            space, {path: self._axis(axes[path], slot) for slot, path in enumerate(paths)}
        )

    def draw(self, number: int, rng: random.Random) -> dict[str, Any]:
        """A cell by its number, the last parameter varying fastest; all else is drawn."""
        for slot, size in self._radices:
            number, self._chosen[slot] = divmod(number, size)
        made: dict[str, Any] = self._draw(rng, {})
        return made

    def _axis(self, node: Parameter | Choice, slot: int) -> laws.Draw:
        chosen = self._chosen
        if isinstance(node, Choice):
            options = [laws.drawer(option) for option in node.options]
            return lambda rng, drawn: options[chosen[slot]](rng, drawn)  # noqa: PLW0108 - by slot
        values = _grid_axis(node)
        return lambda rng, drawn: values[chosen[slot]]


def handles(space: Group) -> bool:
    """Whether these are grids as W&B has them: beside other parameters, not inside of options.

    Ray counts the others in rounds of its own, and its own searcher does that.
    """
    places = [place.node for place in walk(space)]
    grids = sum(getattr(node, "grid", False) for node in places)
    if not grids:
        return True
    if any(isinstance(n, Operation) or getattr(n, "shared", False) for n in places):
        return False
    return bool(grids == sum(getattr(node, "grid", False) for _, node in leaves(space)))


def _size(node: Parameter | Choice, path: tuple[str, ...]) -> int:
    if isinstance(node, Choice):
        return len(node.options)
    size = laws.grid_count(node.distribution)
    if size is None:
        raise SpecError(
            "a grid over a parameter that cannot be enumerated",
            path=".".join(path),
            expected="values, integers, or a uniform parameter with a q",
        )
    return size


def _grid_axis(node: Any) -> Any:
    """The values of a grid, without making those of long ranges."""
    distribution = node.distribution
    return (
        points.axis(distribution)
        if hasattr(distribution, "step")
        else laws.grid_values(distribution)
    )


def complete(node: Node, drawn: Any, point: Any, rng: random.Random) -> Any:
    """A partial point, completed with what was drawn.

    Where the point takes another option than the draw did, the rest of that option is drawn anew.
    """
    if isinstance(node, Group) and isinstance(point, Mapping) and isinstance(drawn, Mapping):
        return {
            name: complete(child, drawn[name], point[name], rng) if name in point else drawn[name]
            for name, child in node.items
        }
    if isinstance(node, Choice) and not node.plain:
        option = node.options[match(node, point, partial=True)[0]]
        return complete(option, plain(laws.sample(option, rng)), point, rng)
    return point
