"""The experiment: a space and everything around it, as one immutable value.

Counting follows Tune: `Experiment.num_samples` draws of the space, each of which runs the whole
grid when the space has one. Names of searchers and schedulers are those of their home: Tune's class
names, and W&B's ``bayes`` and ``hyperband``.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from tune_bridge.space import Choice, Group, Node, Operation, Parameter, Place, Sequence, walk
from tune_bridge.values import EMPTY, Frozen

__all__ = [
    "RANDOM",
    "ROOT",
    "Algorithm",
    "Experiment",
    "Objective",
    "usual_goal",
]

Goal = Literal["minimize", "maximize"]

_LOW = (
    "loss", "error", "mse", "mae", "rmse", "perplexity", "ppl", "latency", "fid", "wer", "regret",
)  # fmt: skip
_HIGH = (
    "acc", "f1", "auc", "auroc", "reward", "return", "score", "map", "iou", "recall", "precision",
    "bleu",
)  # fmt: skip


def usual_goal(name: str) -> Goal | None:
    """The goal that a metric of this name usually has: ``val_loss`` is minimized.

    Args:
        name: The metric's name.

    Returns:
        The goal; None when the name says nothing, or both.
    """
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    words |= {word.rstrip("0123456789") for word in words}
    low = any(word.endswith(_LOW) for word in words if word)
    high = any(word.startswith(_HIGH) for word in words if word)
    if low == high:
        return None
    return "minimize" if low else "maximize"


class Objective(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is optimised.

    Attributes:
        name: The metric's name, as reported.
        goal: "minimize" or "maximize".
        target: A value at which the sweep may end, or None.
        options: Further keys of W&B's metric (impute, ...), kept as they are.
    """

    name: str
    goal: Goal = "minimize"
    target: float | None = None
    options: Frozen = EMPTY

    @property
    def mode(self) -> Literal["min", "max"]:
        """Tune's word for the goal."""
        return "min" if self.goal == "minimize" else "max"


class Algorithm(msgspec.Struct, frozen=True, omit_defaults=True):
    """A searcher or a scheduler: a class name and its arguments.

    Arguments that the experiment itself holds (metric, mode, space, points_to_evaluate, seed) are
    not repeated, and arguments at their default are left out, so that equal means equal.

    Attributes:
        kind: Tune's class name, or W&B's "bayes" or "hyperband".
        args: Arguments by name.
    """

    kind: str
    args: Frozen = EMPTY

    @classmethod
    def of(cls, kind: str, **args: Any) -> Algorithm:
        """An algorithm with plain arguments."""
        return cls(kind, Frozen(args))

    def arg(self, name: str, default: Any = None) -> Any:
        """One argument, or `default`."""
        return self.args.value.get(name, default)


ROOT = "space"
"""The one name in the space of an experiment whose configurations are no mappings."""

RANDOM = Algorithm("BasicVariantGenerator")
"""Random draws and grids: Tune's default searcher, W&B's methods random and grid."""


class Experiment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A search to be run, in no notation.

    Attributes:
        space: What is searched, and constants.
        root: The one name in `space` whose value programs get in place of a mapping, for a space of
            HyperOpt that is a choice, a list or a call: `ROOT`. None for a mapping.
        program: The script that a run starts, or None.
        trainable: A Python function or class as ``module:qualname``, or a name registered with
            Tune.
        command: How the program is started, W&B's list with macros; None for the default.
        objective: What is optimised, or None.
        searcher: Who proposes; `RANDOM` by default.
        scheduler: Who stops and pauses; None runs every trial to its end (Tune's FIFO).
        num_samples: Draws of the space; None for no limit.
        run_cap: A limit on the number of runs beside `num_samples` (W&B's, for grids); None for
            none.
        stop: Tune's stop criteria: a trial ends when a named result reaches its value.
        points: Configurations to try first, as (possibly nested) mappings.
        seed: Seed of the searcher, or None.
        max_concurrent: Trials at once, or None for no limit.
        resources: Resources per trial, Tune's names (cpu, gpu, ...).
        space_in: Where Tune was given the space: its ``config`` or the ``searcher``. Searchers
            convert a config's domains in their own way, so that it is part of the meaning.
        name: Name of the experiment or sweep.
        description: Text for people.
        project: W&B project.
        entity: W&B entity.
        extras: What was not understood, verbatim, by notation.
    """

    space: Group
    root: str | None = None
    program: str | None = None
    trainable: str | None = None
    command: tuple[str, ...] | None = None
    objective: Objective | None = None
    searcher: Algorithm = RANDOM
    scheduler: Algorithm | None = None
    num_samples: int | None = 1
    run_cap: int | None = None
    stop: Frozen = EMPTY
    points: tuple[Frozen, ...] = ()
    seed: int | None = None
    max_concurrent: int | None = None
    resources: Frozen = EMPTY
    space_in: Literal["config", "searcher"] = "config"
    name: str | None = None
    description: str | None = None
    project: str | None = None
    entity: str | None = None
    extras: Frozen = EMPTY

    @property
    def searched(self) -> dict[str, Parameter | Choice]:
        """What is searched in every run, by path, in order: nothing below a choice."""
        return {
            place.path: place.node
            for place in walk(self.space)
            if isinstance(place.node, Parameter | Choice) and not place.conditions
        }

    @property
    def conditional(self) -> dict[str, Place]:
        """What is searched only where options above it are drawn, by path, in order."""
        return {
            place.path: place
            for place in walk(self.space)
            if isinstance(place.node, Parameter | Choice) and place.conditions
        }

    @property
    def is_nested(self) -> bool:
        """Whether an option, a list or a function holds a parameter: few searchers can say that."""
        return any(
            place.conditions or isinstance(place.node, Sequence | Operation)
            for place in walk(self.space)
        )

    @property
    def whole(self) -> Node:
        """What programs get a draw of: the space, or for a `root` what stands there."""
        found = None if self.root is None else self.space.get(self.root)
        return self.space if found is None else found

    @property
    def is_grid(self) -> bool:
        """Whether something is searched and all of it is enumerated."""
        nodes = [*self.searched.values(), *(place.node for place in self.conditional.values())]
        return bool(nodes) and all(getattr(node, "grid", False) for node in nodes)

    def replace(self, **changes: Any) -> Experiment:
        """A copy with some attributes changed."""
        return msgspec.structs.replace(self, **changes)
