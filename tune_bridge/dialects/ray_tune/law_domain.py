"""A Ray Tune domain for any law of the space. Importing this module imports Ray."""

from __future__ import annotations

from typing import Any

from ray.tune.search.sample import Domain, Sampler, _BackwardsCompatibleNumpyRng

from tune_bridge.laws import sample
from tune_bridge.space import Choice, Parameter

__all__ = ["LawDomain"]


class _Rng:
    """One number generator in the words of `random.Random`."""

    def __init__(self, draws: Any) -> None:
        self._draws = iter(draws)

    def random(self) -> float:
        """The next draw from the unit interval."""
        return float(next(self._draws))


class _LawSampler(Sampler):
    def sample(
        self, domain: Any, config: Any = None, size: int = 1, random_state: Any = None
    ) -> Any:
        if not isinstance(random_state, _BackwardsCompatibleNumpyRng):
            random_state = _BackwardsCompatibleNumpyRng(random_state)
        rng: Any = _Rng(random_state.uniform(0.0, 1.0, size=size))
        items = [sample(domain.node, rng) for _ in range(size)]
        return items if size > 1 else items[0]


class LawDomain(Domain):
    """Draws from the law of a node with the random state that Tune passes.

    Args:
        node: A parameter, or a choice of constants.
    """

    default_sampler_cls: Any = _LawSampler

    def __init__(self, node: Parameter | Choice) -> None:
        self.node = node

    def is_valid(self, value: Any) -> bool:
        """Whether Tune may take `value` without a warning: a choice knows, a law does not say."""
        return value in self.node.values() if isinstance(self.node, Choice) else True

    @property
    def domain_str(self) -> str:
        """The law in a message of Tune."""
        return repr(self.node)
