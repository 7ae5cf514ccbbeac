"""Mistakes that people make in sweeps, each with its place and its fix.

A rule is a function from a sweep to findings. What a reader refuses is no matter for a rule: these
are files that are valid and still not what their author meant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from tune_bridge.command import MACROS
from tune_bridge.dialects.base import suggest
from tune_bridge.experiment import Experiment
from tune_bridge.explain import rungs
from tune_bridge.space import Choice, Normal, Parameter, Uniform

__all__ = ["RULES", "Finding", "lint"]


class Finding(msgspec.Struct, frozen=True):
    """One mistake.

    Attributes:
        rule: Its name, a key of `RULES`.
        path: Where, dotted.
        what: What is wrong.
        fix: What to do.
    """

    rule: str
    path: str
    what: str
    fix: str


_Found = Iterator[tuple[str, str, str]]
_Rule = Callable[[Mapping[str, Any], Experiment], _Found]


def lint(config: Mapping[str, Any], experiment: Experiment) -> list[Finding]:
    """All findings, in the order of the rules.

    Args:
        config: The sweep as written.
        experiment: What it says.
    """
    return [
        Finding(name, path, what, fix)
        for name, rule in RULES.items()
        for path, what, fix in rule(config, experiment)
    ]


# Values -------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\Z")


def _text_number(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """Numbers in quotes (W&B's own YAML reader takes 1e-5 for text, too)."""
    for path, spec in _entries(config.get("parameters"), "parameters"):
        values = spec.get("values")
        found = [("value", spec.get("value"))]
        if isinstance(values, list):
            found += [(f"values[{i}]", value) for i, value in enumerate(values)]
        for key, value in found:
            if isinstance(value, str) and _NUMBER.match(value):
                yield f"{path}.{key}", f"{value!r} is text", f"write {float(value):g} for a number"


def _exponents(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """Values given to log_uniform, which takes natural logarithms."""
    for path, spec in _entries(config.get("parameters"), "parameters"):
        name = spec.get("distribution")
        low, high = spec.get("min"), spec.get("max")
        if name not in ("log_uniform", "q_log_uniform", "inv_log_uniform"):
            continue
        if not isinstance(low, int | float) or not isinstance(high, int | float):
            continue
        if 0 < low < 1 or high > 20:
            spread = f"{math.exp(min(low, 700)):.3g} to {math.exp(min(high, 700)):.3g}"
            yield (
                f"{path}.distribution",
                f"{name} takes exponents: this is {spread}",
                f"use {name}_values when {low:g} and {high:g} are the values themselves",
            )


_FRACTIONS = (
    "lr",
    "learning_rate",
    "dropout",
    "momentum",
    "decay",
    "alpha",
    "gamma",
    "rate",
    "prob",
)


def _int_bounds(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """Whole bounds without a distribution where fractions were meant."""
    for path, spec in _entries(config.get("parameters"), "parameters"):
        if "distribution" in spec or not {"min", "max"} <= spec.keys():
            continue
        name = path.rpartition(".")[2].lower()
        whole = all(type(spec[key]) is int for key in ("min", "max"))
        if whole and (any(word in name for word in _FRACTIONS) or spec["max"] - spec["min"] == 1):
            yield (
                path,
                f"whole bounds mean whole numbers: {spec['min']} to {spec['max']}",
                f"write max: {float(spec['max'])} or distribution: uniform for fractions",
            )


def _left_bounds(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """Rounded values that leave their bounds."""
    for path, node in experiment.searched.items():
        if not isinstance(node, Parameter) or node.grid:
            continue
        d = node.distribution
        if not isinstance(d, Uniform) or d.q is None or d.exponents:
            continue
        first, last = round(d.low / d.q) * d.q, round(d.high / d.q) * d.q
        slack = 1e-9 * max(abs(d.low), abs(d.high), d.q)
        if (first < d.low - slack or last > d.high + slack) and not _whole_cells(d):
            yield (
                f"parameters.{path}",
                f"multiples of {d.q:g} from {first:g} to {last:g} leave {d.low:g} to {d.high:g}",
                "make the bounds multiples of q",
            )


def _whole_cells(d: Uniform) -> bool:
    """Bounds in the middle between multiples are the idiom for equally likely multiples."""
    assert d.q is not None
    return all(math.isclose(abs((x / d.q) % 1), 0.5, abs_tol=1e-9) for x in (d.low, d.high))


def _duplicates(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """The same value twice in a choice."""
    for path, node in experiment.searched.items():
        if not isinstance(node, Choice) or len(set(node.options)) == len(node.options):
            continue
        options = list(node.options)
        twice = next(option for option in options if options.count(option) > 1)
        yield (
            f"parameters.{path}",
            f"{getattr(twice, 'value', twice)!r} stands there more than once",
            "list every value once, or give probabilities",
        )


def _wide_quantum(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """A quantum that leaves next to nothing to choose from."""
    for path, node in experiment.searched.items():
        d = node.distribution if isinstance(node, Parameter) else None
        if not isinstance(d, Uniform | Normal) or d.q is None or d.scale != "linear":
            continue
        width = 4 * d.sigma if isinstance(d, Normal) else d.high - d.low
        if d.q > width:
            yield (
                f"parameters.{path}",
                f"q {d.q:g} is wider than the range of {width:g}",
                "make q smaller",
            )


# The search ---------------------------------------------------------------------------------------


def _large_grid(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """A grid that nobody waits for."""
    from tune_bridge.dialects.sweep.keys import grid_size

    size = grid_size(experiment)
    if experiment.is_grid and size > 100_000 and experiment.run_cap is None:
        yield (
            "method",
            f"the grid has {size:,} cells and no run_cap",
            "use method: random or bayes, or add run_cap",
        )


def _no_end(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """A search that only a person ends."""
    if experiment.num_samples is None:
        yield "run_cap", "the sweep has no end of its own", "add run_cap"


def _rungs(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """Early termination that cannot compare."""
    if experiment.scheduler is None:
        return
    found = rungs(experiment.scheduler)
    end = experiment.stop.value.get("training_iteration")
    if found is not None and isinstance(end, int | float):
        found = [rung for rung in found if rung <= end]
    if found is not None and len(found) < 2:
        shown = ", ".join(map(str, found)) or "none"
        yield (
            "early_terminate",
            f"hyperband has fewer than two rungs: {shown}",
            "lower min_iter (grace_period) or eta (reduction_factor), or raise max_iter (max_t)",
        )
    if experiment.objective is None:
        yield "metric", "early_terminate without a metric stops nothing", "name the metric"


_LOW = (
    "loss",
    "error",
    "mse",
    "mae",
    "rmse",
    "perplexity",
    "ppl",
    "latency",
    "fid",
    "wer",
    "regret",
)
_HIGH = (
    "acc",
    "f1",
    "auc",
    "auroc",
    "reward",
    "return",
    "score",
    "map",
    "iou",
    "recall",
    "precision",
    "bleu",
)


def _goal(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """A goal that contradicts the metric's name."""
    if experiment.objective is None:
        return
    words = set(re.split(r"[^a-z0-9]+", experiment.objective.name.lower()))
    words |= {word.rstrip("0123456789") for word in words}
    low = any(word.endswith(_LOW) for word in words if word)
    high = any(word.startswith(_HIGH) for word in words if word)
    goal = experiment.objective.goal
    if low == high or goal == ("minimize" if low else "maximize"):
        return
    yield (
        "metric.goal",
        f"{experiment.objective.name} is to be {goal.removesuffix('e')}ed",
        f"is goal: {'minimize' if low else 'maximize'} meant?"
        + ("" if "goal" in (config.get("metric") or {}) else " (minimize is the default)"),
    )


# The file -----------------------------------------------------------------------------------------


def _macros(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """Macros that expand to nothing."""
    for index, item in enumerate(experiment.command or ()):
        if not (item.startswith("${") and item.endswith("}")) or item.startswith("${envvar:"):
            continue
        name = item[2:-1]
        if name not in MACROS:
            near = suggest(name, list(MACROS))
            parameter = "it is no macro; parameters arrive through ${args}"
            yield f"command[{index}]", f"{item} expands to nothing", near or parameter


def _keys(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """Keys that nobody reads, near ones that somebody would."""
    kept = experiment.extras.value.get("sweep", {})
    known = (
        "early_terminate",
        "parameters",
        "command",
        "run_cap",
        "metric",
        "program",
        "project",
        "description",
    )
    for key in kept:
        near = suggest(str(key), known)
        if near and str(key) not in ("metrics",):
            yield str(key), "not a key that W&B knows", near


RULES: dict[str, _Rule] = {
    "text-number": _text_number,
    "exponents": _exponents,
    "int-bounds": _int_bounds,
    "left-bounds": _left_bounds,
    "duplicates": _duplicates,
    "wide-quantum": _wide_quantum,
    "large-grid": _large_grid,
    "no-end": _no_end,
    "rungs": _rungs,
    "goal": _goal,
    "macros": _macros,
    "keys": _keys,
}
"""Rules by name, in the order in which they look."""


def _entries(parameters: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every entry of ``parameters``, nested ones too."""
    if not isinstance(parameters, Mapping):
        return
    for name, spec in parameters.items():
        here = f"{path}.{name}"
        if isinstance(spec, Mapping):
            yield here, spec
            yield from _entries(spec.get("parameters"), f"{here}.parameters")
