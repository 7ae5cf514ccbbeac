"""Engines: who proposes configurations and judges runs. `tune_bridge.engines.base` is the contract.

Importing this package loads nothing heavy; what an experiment needs is loaded when its engine is
made.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_bridge.engines.base import Engine
    from tune_bridge.engines.parts import Judge, Proposer, StopRule
    from tune_bridge.engines.random_state import Sandbox
    from tune_bridge.experiment import Experiment

__all__ = ["chosen_seed", "make_engine", "make_proposer", "restore_engine"]


def chosen_seed(experiment: Experiment, seed: int | None = None) -> int:
    """The seed to make an engine with: the given one, the experiment's own, else a fresh one."""
    for known in (seed, experiment.seed):
        if known is not None:
            return known
    return secrets.randbits(32)


def make_engine(experiment: Experiment, *, sweep_id: str, seed: int) -> Engine:
    """The engine that an experiment asks for.

    W&B's own methods (random, grid, bayes, hyperband) are native; everything of Ray Tune's is done
    by Tune's classes. Any searcher goes with any scheduler that allows it. A sweep that W&B's
    controllers steer gets an engine that proposes and stops nothing.

    Args:
        experiment: What is searched, by whom, and all limits.
        sweep_id: Its runs' ids derive from it.
        seed: Decides everything random that the experiment's own seed leaves open.

    Returns:
        A fresh engine.

    Raises:
        UnsupportedError: The searcher or scheduler cannot do what the experiment says.
        InputError: An initial point does not fit the space.
        MissingExtraError: A library is not installed.
    """
    from tune_bridge.engines.configs import initial_points
    from tune_bridge.engines.drives import check_drives
    from tune_bridge.engines.engine import STOPPER, HostedEngine
    from tune_bridge.engines.outside import Outside, steered
    from tune_bridge.engines.random_state import Sandbox, derived

    if steered(experiment):
        outside = Outside(experiment)
        return HostedEngine(experiment, sweep_id=sweep_id, seed=seed, proposer=outside)
    check_drives(experiment)
    initial_points(experiment)
    budget = (experiment.extras.value.get("tune") or {}).get("time_budget_s")
    stops = STOPPER in experiment.stop.value or budget is not None
    native = _is_native_searcher(experiment) and _is_native_judge(experiment) and not stops
    sandbox = None if native else Sandbox(derived(seed, "sandbox"))
    if sandbox is None:
        proposer, judge, rule = _parts(experiment, seed, stops)
    else:
        with sandbox:
            proposer, judge, rule = _parts(experiment, seed, stops)
    return HostedEngine(
        experiment,
        sweep_id=sweep_id,
        seed=seed,
        proposer=proposer,
        judge=judge,
        stop_rule=rule,
        sandbox=sandbox,
    )


def make_proposer(experiment: Experiment, *, seed: int) -> tuple[Proposer, Sandbox]:
    """Only the searcher of an experiment, for a host of another kind (Ray Tune itself).

    Args:
        experiment: What is searched, and by whom.
        seed: See `make_engine`.

    Returns:
        The proposer, and the random state that it is to be called in.

    Raises:
        UnsupportedError: The searcher cannot do what the experiment says.
        MissingExtraError: A library is not installed.
    """
    from tune_bridge.engines.configs import initial_points
    from tune_bridge.engines.random_state import Sandbox, derived

    initial_points(experiment)
    sandbox = Sandbox(derived(seed, "sandbox"))
    with sandbox:
        return _proposer(experiment, seed), sandbox


def restore_engine(snapshot: bytes) -> Engine:
    """The engine of a snapshot that was written by `Engine.snapshot` to our own file.

    Raises:
        InputError: It is no snapshot, or one of another version.
    """
    from tune_bridge.engines import snapshots

    engine: Engine = snapshots.load(snapshot)
    return engine


def _is_native_judge(experiment: Experiment) -> bool:
    return experiment.scheduler is None or experiment.scheduler.kind == "hyperband"


def _is_native_searcher(experiment: Experiment) -> bool:
    """W&B's methods; random search under a scheduler of Tune's, or with its grids, is Tune's."""
    from tune_bridge.engines.native.draws import handles
    from tune_bridge.experiment import RANDOM

    searcher = experiment.searcher
    if searcher.kind != RANDOM.kind:
        return searcher.kind == "bayes"
    ours = set(searcher.args.value) <= {"unique"}
    return ours and _is_native_judge(experiment) and handles(experiment.space)


def _proposer(experiment: Experiment, seed: int) -> Proposer:
    if experiment.searcher.kind == "bayes":
        from tune_bridge.engines.native.bayes import Bayes

        return Bayes(experiment, seed)
    if _is_native_searcher(experiment):
        from tune_bridge.engines.native.draws import Draws

        return Draws(experiment, seed)
    proposer: Proposer = _tunes("searchers").proposer(experiment, seed)
    return proposer


def _parts(
    experiment: Experiment, seed: int, stops: bool
) -> tuple[Proposer, Judge | None, StopRule | None]:
    proposer = _proposer(experiment, seed)
    judge: Judge | None = None
    if not _is_native_judge(experiment):
        judge = _tunes("schedulers").judge(experiment, proposer, seed)
    elif experiment.scheduler is not None:
        from tune_bridge.engines.native.hyperband import Hyperband

        judge = Hyperband(experiment)
    rule: StopRule | None = None
    if stops:
        rule = _tunes("stoppers").stop_rule(experiment)
    return proposer, judge, rule


def _tunes(module: str) -> Any:
    """A module of `tune_bridge.engines.tune`."""
    import importlib

    return importlib.import_module(f"tune_bridge.engines.tune.{module}")
