"""Experiments and runs that the tests of searchers share."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from tune_bridge.engines.parts import Proposal, Proposer
from tune_bridge.engines.random_state import Sandbox
from tune_bridge.engines.tune.searchers import proposer
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Normal,
    Parameter,
    Sequence,
    Uniform,
)
from tune_bridge.values import Frozen

LIGHT = (
    "HyperOptSearch",
    "OptunaSearch",
    "NevergradSearch",
    "TuneBOHB",
    "ZOOptSearch",
    "BayesOptSearch",
    "SkOptSearch",
)
HEAVY = ("AxSearch", "HEBOSearch")
"""They need torch, and think for seconds."""

GENERATOR = "BasicVariantGenerator"
LOSS = Objective("loss")


def group(**items: Node) -> Group:
    return Group(tuple(items.items()))


def choice(*values: Any, weights: tuple[float, ...] | None = None) -> Choice:
    nodes = (v if hasattr(v, "__struct_fields__") else Constant.of(v) for v in values)
    return Choice(tuple(nodes), weights)


def uniform(low: float, high: float, scale: Any = "linear", **more: Any) -> Parameter:
    return Parameter(Uniform(low, high, scale, **more))


MIXED = group(
    lr=uniform(1e-4, 1.0, "log"),
    net=group(units=Parameter(Integers(1, 8)), act=choice("relu", "tanh", "none")),
    x=uniform(0.0, 1.0),
    epochs=Constant.of([1, {"a": 2}]),
)
"""Four parameters of four kinds."""

CONDITIONAL = group(
    model=choice(
        group(kind=Constant.of("line"), lr=uniform(0.0, 1.0)),
        group(
            kind=Constant.of("net"),
            lr=Parameter(Normal(0.0, 1.0)),
            depth=Parameter(Integers(0, 20, 2)),
            inner=choice(None, group(rate=uniform(0.0, 0.5, q=0.1))),
        ),
        "none",
    ),
    mixed=choice(None, [1, 2], {"a": (1, 2)}, 1, 1.5, True, weights=(0.3, 0.2, 0.2, 0.1, 0.1, 0.1)),
    beta=Parameter(Beta(2.0, 3.0)),
    pair=Sequence((uniform(0.0, 1.0), Constant.of(3), choice("a", "b")), "tuple"),
)
"""What Tune's converters cannot say: conditions, names in two branches, weights, other laws."""

FLOATS = group(x=uniform(0.0, 1.0), y=uniform(-2.0, 3.0))


def experiment(kind: str, space: Group = MIXED, *, points: tuple = (), **more: Any) -> Experiment:
    args = more.pop("args", {})
    return Experiment(
        space,
        objective=LOSS,
        searcher=Algorithm.of(kind, **args),
        points=tuple(Frozen(point) for point in points),
        **{"num_samples": 30, **more},
    )


class Runs:
    """Runs of a proposer, in its sandbox, with failures and useless results among them.

    Attributes:
        configs: What was proposed, in order.
        values: The usable results, in order of their ends.
        last: Why nothing more was proposed.
    """

    def __init__(self, made: Experiment, seed: int = 1) -> None:
        self.sandbox = Sandbox(seed)
        with self.sandbox:
            self.proposer: Proposer = proposer(made, seed)
        self.live: list[tuple[str, Proposal]] = []
        self.configs: list[dict[str, Any]] = []
        self.infos: list[dict[str, Any]] = []
        self.values: list[float] = []
        self.last = ""

    def ask(self) -> bool:
        """Whether there is a new run."""
        with self.sandbox:
            answer = self.proposer.propose(f"r{len(self.configs)}")
        if not isinstance(answer, Proposal):
            self.last = answer.reason
            assert self.live or answer.final, "it waits, and there is nothing to wait for"
            return False
        self.live.append((f"r{len(self.configs)}", answer))
        self.configs.append(answer.config)
        self.infos.append(answer.info)
        return True

    def end(self, loss: Callable[[dict[str, Any]], float], *, faults: bool = False) -> None:
        """The oldest run ends: every fifth one fails, and every fifth one says NaN."""
        run, proposal = self.live.pop(0)
        fault = int(run[1:]) % 5 if faults else -1
        with self.sandbox:
            if fault == 2:
                self.proposer.close(run, None, failed=True)
                return
            value = math.nan if fault == 4 else loss(proposal.config)
            result = {"loss": value, "training_iteration": 1, "time_total_s": 1.0, "trial_id": run}
            self.proposer.progress(run, result)
            self.proposer.close(run, result, failed=math.isnan(value))
        if fault != 4:
            self.values.append(value)

    def all(
        self,
        number: int,
        agents: int = 1,
        *,
        loss: Callable[[dict[str, Any]], float] | None = None,
        faults: bool = False,
    ) -> Runs:
        """Goes on until so many runs have been proposed."""
        while len(self.configs) < number:
            if len(self.live) < agents and self.ask():
                continue
            if not self.live:
                break
            self.end(loss or noise, faults=faults)
        return self


def noise(config: dict[str, Any]) -> float:
    return random.Random(repr(config)).random()


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}/")
        else:
            found[f"{prefix}{name}"] = value
    return found
