"""Ray Tune's schedulers as judges: `judge` makes one of what an experiment says.

| scheduler | waiting runs (`Judge.ahead`) | checkpoints |
| --- | --- | --- |
| FIFO, ASHA, ResourceChanging | none | not needed |
| MedianStoppingRule | none; as Tune with min_time_slice | with min_time_slice, or hard_stop false |
| HyperBand, HyperBandForBOHB | as Tune | needed |
| PBT, PB2 | the whole population | needed |
| PBT Replay | none | needed |

"As Tune" is what its controller keeps: one proposed trial for a searcher (or its limit of trials
at once), up to 200 for random search and grids. Brackets and populations are filled with them, so
that they are part of the decisions. MedianStoppingRule would pause runs merely to share time with
those that wait: that is done only for who asks for it by ``min_time_slice``.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from tune_bridge.dialects.calls import Call, build
from tune_bridge.dialects.ray_tune.algorithms import write_scheduler
from tune_bridge.engines.parts import Judge, Proposer
from tune_bridge.engines.tune.policies import as_file
from tune_bridge.engines.tune.stoppers import stop_rule
from tune_bridge.errors import MissingExtraError, SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment
from tune_bridge.notes import Notes

__all__ = [
    "RESOURCES",
    "build_scheduler",
    "check_population",
    "judge",
    "live_scheduler",
    "needs_checkpoints",
    "stop_rule",
]

RESOURCES = (
    "ResourceChangingScheduler: the base scheduler judges; agents keep their resources, "
    "only Ray can change those of a running trial"
)
"""What is left of the scheduler that changes resources."""

_RANDOM_WAITING = 200
"""Proposed trials that Tune's controller keeps waiting for random search and grids."""


class _Kind(NamedTuple):
    """What is special about a class of schedulers.

    Attributes:
        goal: It compares the metric.
        ahead: Runs wait for it as they do for Tune.
        saves: Why programs have to save checkpoints; empty when they need not.
        population: Its runs are a population, of a size that must be known, without a searcher.
    """

    goal: bool = True
    ahead: bool = False
    saves: str = ""
    population: bool = False


_RESIZES = (
    "ResourceChangingScheduler pauses runs to change their resources and resumes them from their "
    "checkpoints"
)
_HALVES = "{kind} pauses runs at its milestones and resumes the best ones from their checkpoints"
_COPIES = "{kind} lets bad runs go on from the checkpoints of good ones"
_ASHA = _Kind()
_POPULATION = _Kind(ahead=True, saves=_COPIES, population=True)

_KINDS: dict[str, _Kind] = {
    "FIFOScheduler": _Kind(goal=False),
    "AsyncHyperBandScheduler": _ASHA,
    "ASHAScheduler": _ASHA,
    "HyperBandScheduler": _Kind(ahead=True, saves=_HALVES),
    "HyperBandForBOHB": _Kind(ahead=True, saves=_HALVES),
    "MedianStoppingRule": _Kind(),
    "PopulationBasedTraining": _POPULATION,
    "PB2": _POPULATION,
    "PopulationBasedTrainingReplay": _Kind(
        goal=False, saves="{kind} goes on from the run's own checkpoint with other values"
    ),
}


def _base(scheduler: Algorithm | None) -> Algorithm:
    """The scheduler that decides."""
    if scheduler is None:
        return Algorithm("FIFOScheduler")
    if scheduler.kind != "ResourceChangingScheduler":
        return scheduler
    base = scheduler.arg("base_scheduler")
    if not isinstance(base, Mapping) or len(base) != 1:
        return Algorithm("FIFOScheduler")
    ((kind, args),) = base.items()
    return _base(Algorithm.of(kind, **args))


def _shares_time(base: Algorithm) -> bool:
    return base.kind == "MedianStoppingRule" and base.arg("min_time_slice") is not None


def needs_checkpoints(scheduler: Algorithm | None, *, on_ray: bool = False) -> str:
    """Why programs must be able to save and load checkpoints; empty when they need not.

    Args:
        scheduler: The scheduler of an experiment.
        on_ray: Resources of runs can change.
    """
    if on_ray and scheduler is not None and scheduler.kind == "ResourceChangingScheduler":
        resizes = scheduler.arg("resources_allocation_function", "") is not None
        return needs_checkpoints(scheduler) or (_RESIZES if resizes else "")
    base = _base(scheduler)
    if base.kind == "MedianStoppingRule":
        if _shares_time(base):
            return f"{base.kind} with min_time_slice lets runs take turns"
        if not base.arg("hard_stop", True):
            return f"{base.kind} with hard_stop false pauses runs and resumes them at the end"
        return ""
    return _KINDS[base.kind].saves.format(kind=base.kind) if base.kind in _KINDS else ""


def live_scheduler(experiment: Experiment) -> Any:
    """The scheduler as an object of Ray, with the experiment's metric and mode.

    ``log_config`` of populations is off (`tune_bridge.engines.tune.policies` writes what it would),
    and no function changes resources.

    Raises:
        SpecError: Arguments that Ray refuses, or an experiment without an objective.
        UnsupportedError: Tune has no such scheduler.
        MissingExtraError: Ray, or scikit-learn for PB2, is not installed.
    """
    scheduler = experiment.scheduler or Algorithm("FIFOScheduler")
    base = _base(scheduler)
    call = write_scheduler(scheduler, Notes())
    assert call is not None
    deciding = call
    if call.name == "ResourceChangingScheduler":
        deciding = call.get("base_scheduler")
        call = Call(call.signature, {**call.arguments, "resources_allocation_function": None})
    if base.kind in ("PopulationBasedTraining", "PB2") and isinstance(deciding, Call):
        deciding.arguments["log_config"] = False
    live = build_scheduler(call, scheduler.kind)
    goal = experiment.objective
    if goal is not None:
        live.set_search_properties(goal.name, goal.mode)
    elif _KINDS[base.kind].goal:
        raise SpecError(
            f"{base.kind} without a metric",
            path="objective",
            expected="the metric that it compares, and whether it is minimized or maximized",
        )
    return live


def build_scheduler(call: Call, kind: str) -> Any:
    """A call as an object of Ray; the text of a policy is a file while Ray reads it.

    Args:
        call: What `tune_bridge.dialects.ray_tune.algorithms.write_scheduler` makes.
        kind: Its name, for people.

    Raises:
        SpecError: Arguments that Ray refuses.
        MissingExtraError: Ray, or scikit-learn for PB2, is not installed.
    """
    deciding = call.arguments.get("base_scheduler") or call
    try:
        with tempfile.TemporaryDirectory() as folder:
            if isinstance(deciding, Call) and "policy_file" in deciding.arguments:
                text = deciding.arguments["policy_file"]
                deciding.arguments["policy_file"] = as_file(text, folder)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of resources that will not change
                return build(call)
    except ImportError:
        raise MissingExtraError("ray[tune]", "ray", "Ray Tune's schedulers") from None
    except Exception as error:
        if "install scikit-learn" in str(error):
            raise MissingExtraError("scikit-learn", "pb2", "PB2") from None
        raise SpecError(
            f"arguments that {kind} refuses",
            path="scheduler",
            found=f"{type(error).__name__}: {error}",
        ) from error


def judge(experiment: Experiment, proposer: Proposer, seed: int) -> Judge:
    """Ray's scheduler of an experiment.

    Args:
        experiment: Its scheduler is one of Tune's, or None for FIFO.
        proposer: Who proposes; HyperBandForBOHB tells its searcher of pauses.
        seed: Ignored: Ray's schedulers draw from the global random states, which the engine seeds.

    Raises:
        SpecError: Arguments that Ray refuses, or an experiment without an objective.
        UnsupportedError: A population without an end, or beside a searcher.
        MissingExtraError: Ray, or scikit-learn for PB2, is not installed.
    """
    base = _base(experiment.scheduler)
    live = live_scheduler(experiment)
    kind = _KINDS[base.kind]
    check_population(experiment)

    from tune_bridge.engines.tune.judges import TuneJudge

    deciding = getattr(live, "_base_scheduler", live)
    shares = _shares_time(base)
    return TuneJudge(
        base.kind,
        live,
        live=proposer.live,
        needs=(deciding._time_attr, deciding._metric) if kind.goal else (),
        ahead=_waiting(experiment) if kind.ahead or shares else 0,
        needs_checkpoints=needs_checkpoints(experiment.scheduler),
        hide_waiting=base.kind == "MedianStoppingRule" and not shares,
    )


def _waiting(experiment: Experiment) -> int:
    """How many proposed trials Tune's controller keeps waiting (``_get_max_pending_trials``)."""
    if experiment.searcher.kind == RANDOM.kind:
        return _RANDOM_WAITING
    return experiment.max_concurrent or 1


def check_population(experiment: Experiment) -> None:
    """Refuses what is no population, and more than one run of a replay.

    Raises:
        UnsupportedError: A population without an end, or beside a searcher; several replays.
    """
    kind = _base(experiment.scheduler).kind
    if kind == "PopulationBasedTrainingReplay" and 1 not in (
        experiment.num_samples,
        experiment.run_cap,
    ):
        raise UnsupportedError(
            f"{kind} with more than one run",
            path="num_samples",
            found=str(experiment.num_samples),
            expected="num_samples 1, or run_cap 1: there is one policy",
        )
    if kind not in _KINDS or not _KINDS[kind].population:
        return
    if experiment.searcher.kind != RANDOM.kind:
        raise UnsupportedError(
            f"{kind} beside a searcher, which Tune refuses",
            path="searcher",
            found=experiment.searcher.kind,
            expected="random search: the population changes its configurations itself",
        )
    if experiment.num_samples is None and experiment.run_cap is None:
        raise UnsupportedError(
            f"{kind} without a size of its population",
            path="num_samples",
            expected="num_samples or run_cap",
        )
