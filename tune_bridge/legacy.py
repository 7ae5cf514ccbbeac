"""The names of ``wandb.sweeps.config`` of wandb 0.8 to 0.10, recorded.

    from tune_bridge.legacy import HyperOptSearch, hp, tune

    space = {"width": hp.uniform("width", 0, 20), "lr": hp.loguniform(1e-4, 1e-1)}
    config = tune.run("train.py", search_alg=HyperOptSearch(space, reward_attr="acc"))
    config.set(name="old").save("sweep.yaml")

Source: ``wandb/sweeps/config`` of wandb 0.10.12. Labels may repeat, because the key in the dict
names the parameter; ``hp.loguniform`` takes the values themselves as bounds, and no label. What was
written down and ignored then (schedulers, points, concurrency) counts now, and a note says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from tune_bridge import sweep_config
from tune_bridge.dialects.calls import Signature, parse_signatures
from tune_bridge.dialects.legacy import RUN, LegacyDialect, record

__all__ = ["AsyncHyperBandScheduler", "HyperOptSearch", "SweepConfig", "hp", "modules", "tune"]

_SIGNATURES = parse_signatures(
    "wandb.sweeps.config",
    """
    loguniform(min_bound, max_bound, base=None)
    HyperOptSearch(space, max_concurrent=None, reward_attr=None, metric=None, mode=None, \
points_to_evaluate=None, n_initial_points=None, random_state_seed=None, gamma=None, **kwargs)
    AsyncHyperBandScheduler(time_attr=None, reward_attr=None, metric=None, mode=None, max_t=None, \
grace_period=None, reduction_factor=None, brackets=None)
    """,
)


class SweepConfig(sweep_config.SweepConfig):
    """What ``tune.run`` returned: now a sweep of today, with the methods that it had then."""

    @property
    def data(self) -> dict[str, Any]:
        """The dict itself."""
        return self

    def set_local(self) -> SweepConfig:
        """Gives the sweep a local controller; returns this config."""
        super().set(local=True)
        return self

    def set_name(self, name: str) -> SweepConfig:
        """Sets the name; returns this config."""
        super().set(name=name)
        return self

    def set_settings(self, settings: Mapping[str, Any]) -> SweepConfig:
        """Sets the settings for runs; returns this config."""
        super().set(settings=settings)
        return self

    def set(
        self,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        local: bool | None = None,
        **kwargs: Any,
    ) -> SweepConfig:
        """Sets what is given, and warns about words that it does not know.

        wandb 0.10.12 took the settings only where a name was given; here they always count.

        Args:
            name: The sweep's name.
            settings: Settings for the runs.
            local: Give the sweep a local controller.
            **kwargs: Not known.

        Returns:
            This config.
        """
        super().set(name=name, settings=settings, local=local)
        for word in kwargs:
            warnings.warn(f"SweepConfig.set() takes no {word}: left out", stacklevel=2)
        return self

    def __str__(self) -> str:
        return self.to_yaml()


def _arguments(signature: Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments by name, with those that ``**kwargs`` takes among them."""
    found = signature.call(*args, **kwargs).arguments
    others: dict[str, Any] = found.pop("kwargs", {})
    return found | others


def _loguniform(key: str, args: Any, kwargs: Any) -> dict[str, Any]:
    return record(key, (), _arguments(_SIGNATURES["loguniform"], args, kwargs))


class _HyperOpt:
    """The object ``hp``."""

    def uniform(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Records ``hp.uniform(label, low, high)``."""
        return record("hyperopt.hp.uniform", args, kwargs)

    def choice(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Records ``hp.choice(label, options)``."""
        return record("hyperopt.hp.choice", args, kwargs)

    def loguniform(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Records ``hp.loguniform(min_bound, max_bound, base=None)``; the bounds are values."""
        return _loguniform("hyperopt.loguniform", args, kwargs)


hp = _HyperOpt()


def _run(*args: Any, **kwargs: Any) -> SweepConfig:
    """Translates a search into a sweep of today; nothing is run.

    Args:
        *args: As in wandb 0.10.12; the first is the program's path.
        **kwargs: Likewise.

    Returns:
        The sweep.

    Raises:
        SpecError: An argument is malformed.
        UnsupportedError: Something has no translation.
    """
    read = LegacyDialect().read({"tune": RUN.call(*args, **kwargs).arguments})
    config = SweepConfig.from_experiment(read.value, notes=read.notes)
    assert isinstance(config, SweepConfig)
    return config


def _uniform(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Records ``tune.uniform(low, high)``."""
    return record("tune.uniform", args, kwargs)


def _tune_loguniform(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Records ``tune.loguniform(min_bound, max_bound, base=None)``."""
    return _loguniform("tune.loguniform", args, kwargs)


def HyperOptSearch(*args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: N802 - a class's name
    """Records the searcher."""
    given = _arguments(_SIGNATURES["HyperOptSearch"], args, kwargs)
    return record("hyperopt.HyperOptSearch", (), given)


def AsyncHyperBandScheduler(*args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: N802
    """Records the scheduler."""
    given = _arguments(_SIGNATURES["AsyncHyperBandScheduler"], args, kwargs)
    return record("AsyncHyperBandScheduler", (), given)


_RUNS = {"run": _run, "uniform": _uniform, "loguniform": _tune_loguniform}
_MODULES: dict[str, dict[str, Any]] = {
    "": {"SweepConfig": SweepConfig},
    "cfg": {"SweepConfig": SweepConfig},
    "tune": _RUNS,
    "tune.tune": _RUNS,
    "tune.schedulers": {"AsyncHyperBandScheduler": AsyncHyperBandScheduler},
    "tune.schedulers.async_hyperband": {"AsyncHyperBandScheduler": AsyncHyperBandScheduler},
    "tune.suggest": {},
    "tune.suggest.hyperopt": {"HyperOptSearch": HyperOptSearch},
    "hyperopt.hp": {"hp": hp},
    "hyperopt": {"hp": hp},
}
"""Module below the package -> the names in it; a package's names win over its modules."""


def modules(root: str = "wandb.sweeps.config") -> dict[str, ModuleType]:
    """The modules of the old package, to be put into ``sys.modules`` or found by an importer.

    Args:
        root: The full name of the package.

    Returns:
        New modules by full name, the package first; each hangs at the one above it, and those that
        hold others are packages (they have a ``__path__``, which is empty).
    """
    made: dict[str, ModuleType] = {}
    for name in _MODULES:
        full = f"{root}.{name}" if name else root
        made[full] = ModuleType(full, f"The names of ``wandb.sweeps.config`` 0.10.12: {full}.")
    for full, module in made.items():
        above, _, last = full.rpartition(".")
        if above in made:
            made[above].__path__ = []
            setattr(made[above], last, module)
    for name, names in _MODULES.items():
        module = made[f"{root}.{name}" if name else root]
        vars(module).update(names)
        vars(module)["__all__"] = list(names)
    return made


tune = modules("tune_bridge.legacy")["tune_bridge.legacy.tune"]
