"""The names of ``ray.tune``, recorded: nothing is run and Ray is not loaded.

    from tune_bridge import tune

    config = tune.run("train.py", config={"lr": tune.loguniform(1e-4, 1e-1)}, num_samples=20)
    config.save("sweep.yaml")

Every function returns a `Call` with its arguments, except `run`, which returns the sweep that they
say. Objects of the real libraries are accepted wherever these are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tune_bridge.dialects.base import suggest as _nearest
from tune_bridge.dialects.calls import Call, recorder
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES
from tune_bridge.dialects.ray_tune.tables import SCHEDULER_STRINGS, SEARCHER_STRINGS
from tune_bridge.errors import SpecError
from tune_bridge.tune import schedulers as schedulers
from tune_bridge.tune import search as search
from tune_bridge.tune import stopper as stopper
from tune_bridge.tune import suggest as suggest
from tune_bridge.tune.recorders import class_recorder

if TYPE_CHECKING:
    from tune_bridge.sweep_config import SweepConfig

__all__ = [
    "CheckpointConfig",
    "FailureConfig",
    "PlacementGroupFactory",
    "RunConfig",
    "SyncConfig",
    "TuneConfig",
    "Tuner",
    "choice",
    "create_scheduler",
    "create_searcher",
    "grid_search",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "run",
    "sample_from",
    "uniform",
    "with_parameters",
    "with_resources",
]

uniform = recorder(SIGNATURES["tune.uniform"])
quniform = recorder(SIGNATURES["tune.quniform"])
loguniform = recorder(SIGNATURES["tune.loguniform"])
qloguniform = recorder(SIGNATURES["tune.qloguniform"])
randn = recorder(SIGNATURES["tune.randn"])
qrandn = recorder(SIGNATURES["tune.qrandn"])
randint = recorder(SIGNATURES["tune.randint"])
qrandint = recorder(SIGNATURES["tune.qrandint"])
lograndint = recorder(SIGNATURES["tune.lograndint"])
qlograndint = recorder(SIGNATURES["tune.qlograndint"])
choice = recorder(SIGNATURES["tune.choice"])
grid_search = recorder(SIGNATURES["tune.grid_search"])
sample_from = recorder(SIGNATURES["tune.sample_from"])

Tuner = recorder(SIGNATURES["tune.Tuner"])
TuneConfig = recorder(SIGNATURES["tune.TuneConfig"])
RunConfig = recorder(SIGNATURES["tune.RunConfig"])
FailureConfig = recorder(SIGNATURES["tune.FailureConfig"])
CheckpointConfig = recorder(SIGNATURES["tune.CheckpointConfig"])
SyncConfig = recorder(SIGNATURES["tune.SyncConfig"])
PlacementGroupFactory = recorder(SIGNATURES["tune.PlacementGroupFactory"])
with_parameters = recorder(SIGNATURES["tune.with_parameters"])
with_resources = recorder(SIGNATURES["tune.with_resources"])


def create_searcher(search_alg: str, **arguments: Any) -> Call:
    """Records a searcher by the string that Ray has for it, such as "optuna".

    Raises:
        SpecError: There is no such string.
    """
    return _create(SEARCHER_STRINGS, "searcher", search_alg, arguments)


def create_scheduler(scheduler: str, **arguments: Any) -> Call:
    """Records a scheduler by the string that Ray has for it, such as "pbt".

    Raises:
        SpecError: There is no such string.
    """
    return _create(SCHEDULER_STRINGS, "scheduler", scheduler, arguments)


def _create(names: dict[str, str], what: str, name: str, arguments: dict[str, Any]) -> Call:
    if name.lower() not in names:
        raise SpecError(
            f"Ray has no {what} called {name!r}",
            path=what,
            expected=f"one of {', '.join(names)}",
            hint=_nearest(name, list(names)),
        )
    return class_recorder(names[name.lower()])(**arguments)


def run(run_or_experiment: Any, **arguments: Any) -> SweepConfig:
    """Translates a search into a sweep; nothing is run.

    Args:
        run_or_experiment: A program's path, or a function or class importable by name.
        **arguments: Those of Ray's ``tune.run``; recorded and live objects may be mixed.

    Returns:
        The sweep: a dict that ``wandb.sweep`` takes, with `save`.

    Raises:
        SpecError: An argument is malformed, unknown or contradicts another.
        UnsupportedError: Something has no translation; the message names it.
    """
    from tune_bridge.sweep_config import SweepConfig

    return SweepConfig.from_tune(run_or_experiment, **arguments)
