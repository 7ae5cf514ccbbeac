"""Milliseconds per suggestion: Ray's searchers called bare, hosted, and in an engine.

All have the same results, and are asked in turns for suggestions that are not told. Hosting is the
way back to our space and the searcher's books; an engine adds ids, limits and random states of its
own. The bare searcher has the space that ours was given, in its own words. Processor times.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

_RESULTS = {
    "HyperOptSearch": (0, 200, 1000),
    "OptunaSearch": (0, 200, 1000),
    "NevergradSearch": (0, 200, 1000),
    "ZOOptSearch": (0, 200, 1000),
    "TuneBOHB": (0, 200),
    "BayesOptSearch": (50,),
}
_ARGS: dict[str, dict[str, Any]] = {
    "ZOOptSearch": {"budget": 2000, "parallel_num": 10_000},
    "BayesOptSearch": {"skip_duplicate": False, "patience": 10_000},
    "NevergradSearch": {
        "optimizer": {"$function": "nevergrad.optimization.optimizerlib:TwoPointsDE"}
    },
}
_ROUNDS, _FEW = 25, 5


def _engine(kind: str) -> Any:
    from tune_bridge.engines import make_engine
    from tune_bridge.experiment import Algorithm, Experiment, Objective
    from tune_bridge.space import Choice, Constant, Group, Integers, Parameter, Uniform

    floats = {
        "lr": Parameter(Uniform(1e-5, 1e-1, "log")),
        "dropout": Parameter(Uniform(0.0, 0.5)),
    }
    others = {
        "layers": Parameter(Integers(1, 8)),
        "act": Choice(tuple(map(Constant.of, ("relu", "tanh", "gelu")))),
    }
    space = floats if kind == "BayesOptSearch" else {**floats, **others}
    experiment = Experiment(
        Group(tuple(space.items())),
        objective=Objective("loss"),
        searcher=Algorithm.of(kind, **_ARGS.get(kind, {})),
        num_samples=None,
    )
    return make_engine(experiment, sweep_id="bench", seed=0)


def _fill(engine: Any, number: int) -> None:
    for index in range(number):
        run = engine.ask(time=0.0).run
        loss = {"loss": (index * 7919 % 1009) / 1009}
        engine.tell(run, loss, time=0.0)
        engine.end(run, "finished", time=0.0)


def _measure(kind: str, number: int) -> tuple[float, float, float]:
    """Medians: the bare searcher, our proposer on it, and a whole engine."""
    engine, other = _engine(kind), _engine(kind)
    _fill(engine, number)
    _fill(other, number)
    proposer, bare = other.proposer, other.proposer.live
    suggest = next(c.suggest for c in type(bare).__mro__ if c.__module__.startswith("ray."))
    times: tuple[list[float], ...] = ([], [], [])
    for index in range(_ROUNDS if kind != "BayesOptSearch" else _FEW):
        with other._sandbox:
            begin = time.process_time()
            suggest(bare, f"bare{index}")
            middle = time.process_time()
            proposer.propose(f"hosted{index}")
            end = time.process_time()
        answer = engine.ask(time=0.0)
        for found, value in zip(
            times, (middle - begin, end - middle, time.process_time() - end), strict=True
        ):
            found.append(value)
        if kind == "BayesOptSearch":  # it waits for a result of each
            engine.end(answer.run, "failed", time=0.0)
            with other._sandbox:
                proposer.close(f"hosted{index}", None, failed=True)
    bare_time, ours, whole = (statistics.median(found) * 1e3 for found in times)
    return bare_time, ours, whole


def run() -> list[tuple[str, str]]:
    rows = []
    for kind, numbers in _RESULTS.items():
        for number in numbers:
            bare, ours, whole = _measure(kind, number)
            shares = f"hosted {ours / bare - 1:+.1%}, in an engine {whole - bare:+.2f} ms"
            rows.append((f"{kind}, {number} results", f"bare {bare:.3f} ms, {shares}"))
    return rows
