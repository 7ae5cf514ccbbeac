"""Hosted searchers propose what the bare ones propose, with the same seed and the same results.

The bare searcher is Ray's own class, given Tune's own domains, as a program of a user's would; the
space holds what its own conversion says faithfully.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tests.engines.searchers import (
    FLOATS,
    Runs,
    choice,
    experiment,
    flat,
    group,
    noise,
    uniform,
)
from tune_bridge.dialects.calls import build
from tune_bridge.dialects.ray_tune import live_arguments
from tune_bridge.engines.random_state import Sandbox
from tune_bridge.engines.tune.searchers.hosting import seed_globals
from tune_bridge.experiment import Experiment
from tune_bridge.space import Constant, Group, Integers, Normal, Parameter

NUMBER, SEED = 36, 7

_SCALES = {"lr": uniform(1e-4, 1.0, "log"), "x": uniform(0.0, 1.0)}
_INTEGERS = group(units=Parameter(Integers(1, 8)), act=choice("relu", "tanh", "none"))
_ALL = group(**_SCALES, net=_INTEGERS, batch=choice(16, 32, 64), epochs=Constant.of(3))

FAITHFUL = {
    "HyperOptSearch": group(**_SCALES, act=choice("relu", "tanh"), n=Parameter(Normal(0, 2))),
    "OptunaSearch": _ALL,
    "NevergradSearch": _ALL,
    "TuneBOHB": _ALL,
    "BayesOptSearch": FLOATS,
    "ZOOptSearch": group(x=uniform(0.0, 1.0), net=_INTEGERS, y=uniform(-2.0, 3.0)),
    "AxSearch": _ALL,
    "HEBOSearch": _ALL,
}
"""Searcher -> a space that Ray's own conversion of it says as it is."""

ARGS: dict[str, dict[str, Any]] = {
    "NevergradSearch": {
        "optimizer": {"$function": "nevergrad.optimization.optimizerlib:OnePlusOne"}
    },
    "ZOOptSearch": {"budget": 100, "parallel_num": 4},
    "BayesOptSearch": {"random_search_steps": 8},
}


def bare(made: Experiment, number: int, agents: int) -> list[dict[str, Any]]:
    """What Ray's own class proposes, driven as its controller does."""
    with Sandbox(1):
        arguments = live_arguments(made)
        searcher = arguments["search_alg"]
        config = build(arguments.get("config", {}))
        seed_globals(SEED)  # what it imports may draw
        searcher.set_search_properties("loss", "min", config)
        live: list[tuple[str, dict[str, Any]]] = []
        found: list[dict[str, Any]] = []
        while len(found) < number:
            name = f"r{len(found)}"
            wanted = searcher.suggest(name) if len(live) < agents else None
            if wanted == "FINISHED":
                break
            if wanted is not None:
                found.append(wanted)
                live.append((name, wanted))
                continue
            run, config = live.pop(0)
            result = {"loss": loss(config), "training_iteration": 1}
            budget = {"hyperband_info": {"budget": 1.0}}
            searcher.on_trial_result(run, {**result, **budget})
            searcher.on_trial_complete(run, result)
    return found


def loss(config: dict[str, Any]) -> float:
    """Of the numbers that are searched, however they are typed."""
    numbers = [float(v) for v in flat(config).values() if not isinstance(v, str | list)]
    return round(sum(numbers) % 1.0, 6)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """Flat, without numpy's types and the last digits."""
    found = {}
    for name, value in flat(config).items():
        value = value.item() if hasattr(value, "item") else value
        found[name] = float(f"{value:.12g}") if isinstance(value, float) else value
    return found


class _Budgeted(Runs):
    """Says budgets as HyperBand does, which is how BOHB learns."""

    def end(self, loss: Any, *, faults: bool = False) -> None:
        run, proposal = self.live.pop(0)
        wanted = {k: v for k, v in proposal.config.items() if k != "epochs"}
        result = {
            "loss": loss(wanted),
            "training_iteration": 1,
            "hyperband_info": {"budget": 1.0},
        }
        with self.sandbox:
            self.proposer.progress(run, result)
            self.proposer.close(run, result, failed=False)


def _compare(kind: str, space: Group, number: int, agents: int) -> None:
    made = experiment(kind, space, args=ARGS.get(kind, {}), seed=SEED, num_samples=number)
    theirs = bare(made, number, agents)
    if kind == "HyperOptSearch":
        # It gives constants as well.
        theirs = [{k: v for k, v in config.items() if k != "epochs"} for config in theirs]
    ours = _Budgeted(made, SEED).all(number, agents, loss=loss).configs
    # Where Ray's own ends, because a sampler found nothing new, ours goes on.
    assert len(theirs) == number or (kind == "ZOOptSearch" and len(theirs) > 12)
    for index, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        wanted = _plain(other)
        assert {name: _plain(one)[name] for name in wanted} == wanted, index


@pytest.mark.slow
@pytest.mark.parametrize("agents", [1, 4])
@pytest.mark.parametrize("kind", [k for k in FAITHFUL if k not in ("AxSearch", "HEBOSearch")])
def test_the_bare_searcher_proposes_the_same(kind: str, agents: int) -> None:
    # Asked one at a time, the bare one of ZOOpt hangs; BayesOpt in parallel counts repetitions.
    agents = {"ZOOptSearch": 4, "BayesOptSearch": 1}.get(kind, agents)
    _compare(kind, FAITHFUL[kind], NUMBER if kind != "BayesOptSearch" else 16, agents)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["AxSearch", "HEBOSearch"])
def test_the_bare_searcher_with_torch_proposes_the_same(kind: str) -> None:
    pytest.importorskip("torch")
    # The bare one of Ax is for an older Ax and needs our property of its classes. The optimizer
    # in HEBO takes its seed from the system; ours has it draw one.
    module = {"AxSearch": "ax", "HEBOSearch": "hebo"}[kind]
    importlib.import_module(f"tune_bridge.engines.tune.searchers.{module}")
    _compare(kind, FAITHFUL[kind], 13 if kind == "AxSearch" else 10, 1)


def test_scikit_optimize_is_asked_as_it_is() -> None:
    from skopt import Optimizer
    from skopt.space import Categorical, Real

    space = group(x=uniform(0.0, 1.0), lr=uniform(1e-3, 1.0, "log"), act=choice("a", "b"))
    made = experiment("SkOptSearch", space, seed=SEED)
    ours = Runs(made).all(14, loss=noise).configs
    optimizer = Optimizer(
        [Real(0.0, 1.0), Real(1e-3, 1.0, "log-uniform"), Categorical(["a", "b"])],
        random_state=SEED,
    )
    for config in ours:
        point = [getattr(value, "item", lambda value=value: value)() for value in optimizer.ask()]
        assert list(config.values()) == point
        optimizer.tell(point, noise(config))


@pytest.mark.parametrize("agents", [1, 3])
def test_hyperopt_is_given_the_space_itself(agents: int) -> None:
    """A space of ``hp`` parameters, nested, as the user wrote it."""
    from hyperopt import hp
    from ray.tune.search.hyperopt import HyperOptSearch

    from tune_bridge.dialects.ray_tune import TuneDialect

    def space() -> dict[str, Any]:
        return {
            "model": hp.choice(
                "kind",
                [
                    {"name": "svm", "C": hp.lognormal("svm_C", 0, 1)},
                    {"name": "knn", "k": 1 + hp.randint("knn_k", 9)},
                ],
            ),
            "q": hp.quniform("q", 0, 10, 2),
            "p": hp.pchoice("p", [(0.2, "a"), (0.8, "b")]),
            "list": [hp.uniformint("int", 1, 6), 4],
        }

    def searcher() -> Any:
        return HyperOptSearch(space(), metric="loss", mode="min", random_state_seed=SEED)

    call = {"run_or_experiment": "train.py", "search_alg": searcher(), "num_samples": 40}
    made = TuneDialect().read(call).value
    assert made.space_in == "searcher"
    runs = Runs(made)
    bare_searcher = searcher()
    live = []
    for index in range(40):
        if len(live) == agents:
            run, theirs = live.pop(0)
            bare_searcher.on_trial_complete(run, {"loss": noise(theirs)})
            runs.end(noise)
        assert runs.ask()
        ours = runs.configs[-1]
        theirs = bare_searcher.suggest(f"r{index}")
        assert {**theirs, "list": list(theirs["list"])} == ours
        live.append((f"r{index}", ours))


def test_ray_draws_the_same_variants() -> None:
    """The generator itself, with trials, against ours, which makes none."""
    from ray.tune.experiment import Experiment as RayExperiment
    from ray.tune.search import BasicVariantGenerator

    space = group(a=choice(1, 2, 3), x=uniform(0.0, 1.0), net=_INTEGERS, epochs=Constant.of([1, 2]))
    grid = Group(
        (*space.items, ("g", choice("u", "v").__class__(choice("u", "v").options, grid=True)))
    )
    for searched in (space, grid):
        points = ({"a": 2, "x": 0.5}, {"x": 0.25})
        made = experiment("BasicVariantGenerator", searched, points=points, seed=3, num_samples=8)
        ours = Runs(made).all(13).configs
        arguments = live_arguments(made)
        generator: BasicVariantGenerator = arguments["search_alg"]
        theirs = RayExperiment(
            "name", run=_train, config=arguments["config"], num_samples=8, storage_path="/tmp"
        )
        generator.add_configurations([theirs])
        trials = iter(generator.next_trial, None)
        expected = [trial.config for trial in trials][:13]
        assert ours[: len(expected)] == expected


def _train(config: dict[str, Any]) -> None:
    """Never called."""
