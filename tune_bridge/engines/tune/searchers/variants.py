"""BasicVariantGenerator: Tune's own grids and random draws, in Tune's order.

The real generator is asked; what it makes of a variant is kept as a configuration, not as a trial,
which would cost more and wants a place to be stored. Initial points are given to it as spaces with
those values fixed, so that they may lie inside of conditions, where Ray's own way ends with a
TypeError.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from ray.tune.search import BasicVariantGenerator
from ray.tune.search.basic_variant import _TrialIterator, _VariantIterator
from ray.tune.search.variant_generator import _count_spec_samples, generate_variants

from tune_bridge.dialects.calls import build
from tune_bridge.dialects.ray_tune.algorithms import innermost
from tune_bridge.dialects.ray_tune.domains import write_node
from tune_bridge.dialects.ray_tune.law_domain import LawDomain
from tune_bridge.engines.configs import initial_points
from tune_bridge.engines.parts import LATER, Proposal, Proposer, Refused
from tune_bridge.engines.results import plain
from tune_bridge.engines.tune.searchers.codec import Abilities, FlatSpace
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.laws import SAMPLE_FROM
from tune_bridge.notes import Notes
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Node,
    Operation,
    Sequence,
    check_executable,
    walk,
)

__all__ = ["VariantProposer"]


class _Variant:
    """A configuration where Tune has a trial."""

    def __init__(self, number: int, config: dict[str, Any]) -> None:
        self.trial_id, self.config = str(number), config


class _Variants(_TrialIterator):
    """Yields configurations, and notes where each draw of the space begins.

    Attributes:
        before: State of the random numbers before the current draw.
        begun: Draws begun, the current one included.
        inside: Configurations of the current draw that were yielded.
    """

    random_state: Any
    variants: Any
    before: Any = None
    begun = inside = 0

    def create_trial(self, resolved_vars: Any, spec: dict[str, Any]) -> Any:
        """What Tune would make a trial of."""
        self.counter += 1
        self.inside += 1
        return _Variant(self.counter, spec["config"])

    def __next__(self) -> Any:
        """The next configuration."""
        if not (self.variants and self.variants.has_next()):
            self.before = self.random_state.rng.bit_generator.state
            self.begun, self.inside = self.begun + 1, 0
            if self.begun <= self.num_points_to_evaluate:
                self.num_samples_left -= 1
                point = self.points_to_evaluate[self.begun - 1]
                self.variants = _VariantIterator(  # type: ignore[no-untyped-call]
                    generate_variants(
                        point,
                        constant_grid_search=self.constant_grid_search,
                        random_state=self.random_state,
                    ),
                    lazy_eval=True,
                )
                return self.create_trial(*next(self.variants))
            self.points_to_evaluate = []
        return super().__next__()  # type: ignore[no-untyped-call]


class VariantProposer(Proposer):
    """Hosts Tune's generator; it goes on after ``num_samples`` when it is asked to.

    Args:
        experiment: What is drawn.
        seed: Equal seeds draw equal configurations.

    Raises:
        InputError: A mapping that Ray would execute, or a point that does not fit the space.
        UnsupportedError: A wrapper around the generator, which is no searcher to Ray; or a value
            that a function of the configuration makes.
    """

    def __init__(self, experiment: Experiment, seed: int) -> None:
        if innermost(experiment.searcher) is not experiment.searcher:
            raise UnsupportedError(
                "Ray puts searchers into a Repeater or a ConcurrencyLimiter, and its generator of "
                "random draws and grids is none",
                path="searcher",
                found=experiment.searcher.kind,
                expected="a searcher inside, or max_concurrent and num_samples",
            )
        self._experiment, self._seed = experiment, seed
        self._ids: dict[str, str] = {}
        self._begin()
        number = experiment.num_samples
        if number is not None:
            points = [_count_spec_samples(spec, 1) for spec in self._points]
            rest = max(number - len(points), 0)
            self.total = sum(points) + (_count_spec_samples(self._spec, rest) if rest else 0)

    def _begin(self) -> None:
        experiment = self._experiment
        check_executable(experiment.space)
        self._spec = _spec(experiment.space)
        self._points = []
        for index, point in enumerate(initial_points(experiment)):
            fixed = _fixed(experiment.space, point, self._seed + index)
            check_executable(fixed)
            self._points.append(_spec(fixed))
        generator = BasicVariantGenerator(
            max_concurrent=experiment.max_concurrent or 0, random_state=self._seed
        )
        self._variants = _Variants(
            uuid_prefix="",
            num_samples=sys.maxsize,
            unresolved_spec=self._spec,
            constant_grid_search=experiment.searcher.arg("constant_grid_search", False),
            points_to_evaluate=self._points,
            lazy_eval=True,
            random_state=generator._random_state,  # type: ignore[arg-type]
        )
        generator._iterators.append(self._variants)
        generator._trial_generator = self._variants  # type: ignore[assignment]
        self._generator = generator

    @property
    def live(self) -> BasicVariantGenerator:
        """The generator."""
        return self._generator

    def propose(self, run: str) -> Proposal | Refused:
        """The next draw, or grid cell of a draw."""
        try:
            variant = self._generator.next_trial()  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise SpecError(
                "Ray's generator cannot draw a configuration", found=str(error.__cause__ or error)
            ) from error
        if variant is None:
            return LATER
        self._ids[run] = variant.trial_id
        return Proposal(plain(variant.config))

    def close(self, run: str, result: Mapping[str, Any] | None, *, failed: bool) -> None:
        """Frees a place, where there is a limit."""
        identity = self._ids.pop(run, None)
        if identity is not None:
            self._generator.on_trial_complete(identity)

    def __getstate__(self) -> dict[str, Any]:
        variants = self._variants
        kept = ("_experiment", "_seed", "_ids", "total")
        return {
            **{name: getattr(self, name) for name in kept if hasattr(self, name)},
            "place": (variants.before, variants.begun, variants.inside, variants.counter),
            "running": set(self._generator._live_trials),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        before, begun, inside, counter = state.pop("place")
        running = state.pop("running")
        vars(self).update(state)
        self._begin()
        if begun:
            # The random numbers of the current draw are drawn again, up to where it stood.
            variants = self._variants
            variants.random_state.rng.bit_generator.state = before
            variants.begun = begun - 1
            for _ in range(inside):
                next(variants)
            variants.counter = counter
        self._generator._live_trials = running


def _spec(space: Group) -> dict[str, Any]:
    """The part of an experiment of Tune's that its generator reads."""
    return {"run": "program", "config": _config(space, "")}


def _config(space: Group, path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, node in space.items:
        here = f"{path}.{name}" if path else name
        if isinstance(node, Group):
            found[name] = _config(node, here)
        elif isinstance(node, Operation) and node.name == SAMPLE_FROM:
            raise UnsupportedError(
                "a value that a function makes of the configuration, which only Ray calls",
                path=here,
                expected="a parameter, or a run on Ray",
            )
        elif _has_tuple(node):
            # Ray does not look for domains inside of tuples.
            found[name] = LawDomain(node if isinstance(node, Choice) else Choice((node,)))
        else:
            found[name] = build(write_node(node, here, Notes()))
    return found


def _has_tuple(node: Node) -> bool:
    return any(
        isinstance(place.node, Sequence) and place.node.kind == "tuple" for place in walk(node)
    )


def _fixed(node: Group, point: Mapping[str, Any], seed: int) -> Group:
    """A space with the values of a point in place of its parameters."""
    items: list[tuple[str, Node]] = []
    for name, child in node.items:
        if name not in point:
            items.append((name, child))
        elif isinstance(child, Group):
            items.append((name, _fixed(child, point[name], seed)))
        else:
            items.append((name, Constant.of(_completed(child, point[name], seed))))
    return Group(tuple(items))


def _completed(node: Node, value: Any, seed: int) -> Any:
    """The value of a point; what it leaves out inside of a condition is drawn."""
    if isinstance(node, Choice) and not node.plain:
        flat = FlatSpace(Group((("value", node),)), Abilities())
        return flat.decode(flat.encode({"value": value}, seed))["value"]
    return value
