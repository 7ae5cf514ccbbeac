"""Every searcher of Ray Tune as a proposer: ask it, tell it, without Ray running.

Each library has a small module with a class that mends what its searcher of Ray cannot bear, and a
function that makes it from our space; `tune_bridge.engines.tune.searchers.codec` says the space in
the words of the library.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from tune_bridge.dialects.calls import build
from tune_bridge.dialects.ray_tune.algorithms import innermost
from tune_bridge.dialects.ray_tune.arguments import check_arguments
from tune_bridge.dialects.ray_tune.carried import revive_arguments
from tune_bridge.engines.parts import Proposer
from tune_bridge.engines.tune.searchers.codec import Abilities, FlatSpace
from tune_bridge.errors import MissingExtraError, UnsupportedError
from tune_bridge.experiment import Algorithm, Experiment

__all__ = ["SEARCHERS", "Library", "proposer"]


class Library(NamedTuple):
    """Where a searcher is made.

    Attributes:
        module: Module of this package, with a function ``make``.
        package: Distribution that it needs.
        extra: Extra of tune_bridge that brings it.
        can: What the library can say of a space.
    """

    module: str
    package: str
    extra: str
    can: Abilities = Abilities()


_SCALED = Abilities(log=True, integers=True, options=True)

SEARCHERS: dict[str, Library] = {
    "AxSearch": Library("ax", "ax-platform", "ax", _SCALED._replace(labels=True)),
    "BayesOptSearch": Library("bayesopt", "bayesian-optimization", "bayesopt"),
    "HEBOSearch": Library("hebo", "HEBO (pip install --no-deps HEBO)", "hebo", _SCALED),
    "HyperOptSearch": Library(
        "hyperopt", "hyperopt", "ray", _SCALED._replace(weights=True, laws=True)
    ),
    "NevergradSearch": Library("nevergrad", "nevergrad", "nevergrad", _SCALED),
    "OptunaSearch": Library("optuna", "optuna", "optuna", _SCALED),
    # Its integers are rounded draws, so that both ends are half as likely.
    "SkOptSearch": Library(
        "skopt",
        "scikit-optimize",
        "skopt",
        Abilities(log=True, options=True, weights=True, labels=True),
    ),
    "TuneBOHB": Library("bohb", "hpbandster", "bohb", _SCALED._replace(weights=True)),
    "ZOOptSearch": Library("zoopt", "zoopt", "zoopt", Abilities(integers=True, options=True)),
}
"""Ray's class name -> its library. `BasicVariantGenerator` is no searcher to Ray, and apart."""


def proposer(experiment: Experiment, seed: int) -> Proposer:
    """Makes the proposer of an experiment that names a searcher of Ray Tune.

    To be called inside of the random states that its calls will have (it is ``foreign``).

    Args:
        experiment: What is searched, and by whom.
        seed: Decides everything random where the experiment has no seed.

    Raises:
        SpecError: An initial point does not fit the space, or an argument is malformed.
        UnsupportedError: This is no searcher of Ray Tune, or there is no metric.
        MissingExtraError: The library is not installed.
    """
    searcher = innermost(experiment.searcher)
    seed = (seed if experiment.seed is None else experiment.seed) % 2**32
    if searcher.kind == "BasicVariantGenerator":
        variants = _load("variants", "ray[tune]", "ray", searcher.kind)
        made: Proposer = variants.VariantProposer(experiment, seed)
        return made
    library = SEARCHERS.get(searcher.kind)
    if library is None:
        raise UnsupportedError(
            "this is no searcher of Ray Tune",
            path="searcher",
            found=searcher.kind,
            expected=f"one of {', '.join(sorted(SEARCHERS))}, BasicVariantGenerator",
        )
    if experiment.objective is None:
        raise UnsupportedError(
            f"{searcher.kind} without a metric",
            path="objective",
            expected="the name of what is optimised, and whether it is to be small or large",
        )
    hosting = _load("hosting", "ray[tune]", "ray", searcher.kind)
    named = experiment.space_in == "searcher" and searcher.kind == "HyperOptSearch"
    space = FlatSpace(experiment.space, library.can, labels=named)
    module = _load(library.module if space.knobs else "nothing", *library[1:3], searcher.kind)
    hosting.quiet_loggers()
    plan = hosting.Plan(
        space=space,
        metric=experiment.objective.name,
        mode=experiment.objective.mode,
        seed=seed,
        args=_arguments(searcher),
        points=[
            space.encode(point.value, seed + index, where=f"points_to_evaluate[{index}]")
            for index, point in enumerate(experiment.points)
        ],
        experiment=experiment,
    )
    inner = module.make(plan)
    wrapped = hosting.wrap(inner, _wrappers(experiment), experiment.max_concurrent)
    hosted: Proposer = hosting.SearcherProposer(experiment, plan, inner, wrapped)
    return hosted


def _load(module: str, package: str, extra: str, kind: str) -> Any:
    try:
        return importlib.import_module(f"{__name__}.{module}")
    except ImportError:
        raise MissingExtraError(package, extra, kind) from None


def _arguments(searcher: Algorithm) -> dict[str, Any]:
    """The arguments of a class as live objects; those that the experiment holds are not there."""
    check_arguments(searcher.kind, searcher.args.value, f"search_alg.{searcher.kind}")
    call = revive_arguments(searcher.kind, searcher.args.value, "searcher")
    found: dict[str, Any] = build(call.arguments)
    for name in ("kwargs", "ax_kwargs"):
        found |= found.pop(name, {})
    return found


def _wrappers(experiment: Experiment) -> list[tuple[str, dict[str, Any]]]:
    """The wrappers of a searcher, outermost first."""
    found = []
    searcher = experiment.searcher
    while "searcher" in searcher.args.value:
        args = searcher.args.value
        check_arguments(searcher.kind, args, f"search_alg.{searcher.kind}")
        ((kind, inner),) = args.pop("searcher").items()
        found.append((searcher.kind, args))
        searcher = Algorithm.of(kind, **inner)
    return found
