"""A Ray Tune domain for any law of the space. Importing this module imports Ray."""

from __future__ import annotations

from typing import Any

from ray.tune.search.sample import Domain, Sampler, _BackwardsCompatibleNumpyRng

from tune_bridge.laws import sample
from tune_bridge.space import Choice, Operation, Parameter

__all__ = ["LawDomain"]


class _Rng:
    """Numpy's number generator in the words of `random.Random`; draws `block` numbers at a time."""

    def __init__(self, state: Any, block: int) -> None:
        self._state, self._block = state, block
        self._draws: list[Any] = []

    def random(self) -> float:
        """The next draw from the unit interval."""
        if not self._draws:
            self._draws = list(self._state.uniform(0.0, 1.0, size=self._block))[::-1]
        return float(self._draws.pop())


def _draws_once(node: Parameter | Choice | Operation) -> bool:
    """Whether a sample takes one draw: the number that a condition takes depends on the branch."""
    return isinstance(node, Parameter) or (isinstance(node, Choice) and node.plain)


class _LawSampler(Sampler):
    def sample(
        self, domain: Any, config: Any = None, size: int = 1, random_state: Any = None
    ) -> Any:
        if not isinstance(random_state, _BackwardsCompatibleNumpyRng):
            random_state = _BackwardsCompatibleNumpyRng(random_state)
        rng: Any = _Rng(random_state, size if _draws_once(domain.node) else 1)
        items = [sample(domain.node, rng) for _ in range(size)]
        return items if size > 1 else items[0]


class LawDomain(Domain):
    """Draws from the law of a node with the random state that Tune passes.

    Args:
        node: A parameter, a choice or an operation.
    """

    default_sampler_cls: Any = _LawSampler

    def __init__(self, node: Parameter | Choice | Operation) -> None:
        self.node = node

    def is_valid(self, value: Any) -> bool:
        """Whether Tune may take `value` without a warning: plain options know, a law does not."""
        known = isinstance(self.node, Choice) and self.node.plain
        return value in self.node.values() if known else True  # type: ignore[union-attr]

    @property
    def domain_str(self) -> str:
        """The law in a message of Tune."""
        return repr(self.node)
