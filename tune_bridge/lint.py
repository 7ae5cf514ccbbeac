"""Mistakes that people make in sweeps, each with its place and its fix.

A rule is a function from a sweep to findings. Most mistakes are valid and still not what their
author meant; what a reader refuses is a finding, too, by the rule that knows the fix, or as
``invalid``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from tune_bridge.command import MACROS, NO_PROGRAM, startable
from tune_bridge.dialects.base import suggest
from tune_bridge.dialects.sweep.distributions import DISTRIBUTIONS
from tune_bridge.dialects.sweep.keys import EARLY_TERMINATE, KEPT, KNOWN, METHODS, METRIC, grid_size
from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment, usual_goal
from tune_bridge.explain import rungs
from tune_bridge.space import Choice, Normal, Parameter, Uniform

__all__ = ["FILE_RULES", "HINTS", "INVALID", "RULES", "SEARCH_RULES", "Finding", "lint", "refusal"]


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

    @property
    def hint(self) -> bool:
        """Whether it is worth a thought, and often meant: most sweeps are ended by hand."""
        return self.rule in HINTS


_Found = Iterator[tuple[str, str, str]]
_FileRule = Callable[[Mapping[str, Any]], _Found]
_SearchRule = Callable[[Mapping[str, Any], Experiment], _Found]


def lint(
    config: Mapping[str, Any],
    experiment: Experiment | InputError,
    *,
    texts: Mapping[str, str] | None = None,
) -> list[Finding]:
    """All findings, in the order of the rules.

    Args:
        config: The sweep as written.
        experiment: What it says, or why it says nothing.
        texts: Numbers by path that W&B's reader of YAML takes for text
            (`yaml_file.Document.texts`).
    """
    rows: list[tuple[str, str, str, str]] = [
        ("text-number", path, f"W&B's YAML reader takes {text} for text", f"write {_dotted(text)}")
        for path, text in (texts or {}).items()
    ]
    rows += [(name, *found) for name, rule in FILE_RULES.items() for found in rule(config)]
    if isinstance(experiment, Experiment):
        rows += [
            (name, *found)
            for name, rule in SEARCH_RULES.items()
            for found in rule(config, experiment)
        ]
    found = [Finding(*row) for row in rows]
    if isinstance(experiment, InputError) and not any(
        _below(finding.path, experiment.path) for finding in found
    ):
        found.append(refusal(experiment))
    return sorted(found, key=lambda finding: RULES.index(finding.rule))


INVALID = "invalid"


def refusal(error: InputError) -> Finding:
    """What a reader refuses, as a finding."""
    what = f"{error.message}; found {error.found}" if error.found else error.message
    parts = (f"expected {error.expected}" if error.expected else "", error.hint)
    return Finding(INVALID, error.path, what, "; ".join(filter(None, parts)) or "correct it")


def _below(path: str, other: str) -> bool:
    """Whether a finding stands where a refusal does, or inside; the tree has no ``values``."""
    path = path.replace(".values[", "[")
    return path == other or path.startswith((f"{other}.", f"{other}["))


# Values -------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\Z")


def _text_number(config: Mapping[str, Any]) -> _Found:
    """Numbers in quotes."""
    places = [
        (f"{path}.{key}", value)
        for path, spec in _entries(config.get("parameters"), "parameters")
        for key, value in spec.items()
        if key in _NUMBERS or key == "value"
    ]
    places += [
        (f"{path}.values[{index}]", value)
        for path, spec in _entries(config.get("parameters"), "parameters")
        for index, value in enumerate(spec["values"] if _is_list(spec.get("values")) else ())
    ]
    places.append(("run_cap", config.get("run_cap")))
    for name in ("metric", "early_terminate"):
        mapping = config.get(name)
        if isinstance(mapping, Mapping):
            places += [(f"{name}.{key}", value) for key, value in mapping.items() if key != "name"]
    for path, value in places:
        if isinstance(value, str) and _NUMBER.match(value):
            yield path, f"{value!r} is text", f"write {_dotted(value)} for a number"


def _dotted(text: str) -> str:
    """A number as every reader of YAML takes it for one: 1e-5 needs a point and a sign."""
    number = float(text)
    if re.fullmatch(r"[-+]?\d+", text) or not math.isfinite(number):
        return text
    shown = f"{number:g}" if float(f"{number:g}") == number else repr(number)
    mantissa, e, exponent = shown.partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}e{exponent}" if e else shown


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


_NUMBERS = ("min", "max", "q", "mu", "sigma", "a", "b")


def _exponents(config: Mapping[str, Any]) -> _Found:
    """Values given to log_uniform, which takes natural logarithms, and the reverse."""
    for path, spec in _entries(config.get("parameters"), "parameters"):
        name = spec.get("distribution")
        low, high = spec.get("min"), spec.get("max")
        if not isinstance(low, int | float) or not isinstance(high, int | float):
            continue
        if name in ("log_uniform_values", "q_log_uniform_values", "inv_log_uniform_values"):
            if low <= 0 and low < high:
                plain = name.removesuffix("_values")
                yield (
                    f"{path}.min",
                    f"{name} takes the values themselves, which are above 0: {low:g}",
                    (
                        f"use {plain} when {low:g} and {high:g} are natural logarithms, "
                        f"or write min: {_ten(low)} and max: {_ten(high)} for powers of ten"
                    ),
                )
            continue
        if name not in ("log_uniform", "q_log_uniform", "inv_log_uniform"):
            continue
        if 0 < low < 1 or high > 20:
            spread = f"{math.exp(min(low, 700)):.3g} to {math.exp(min(high, 700)):.3g}"
            yield (
                f"{path}.distribution",
                f"{name} takes exponents: this is {spread}",
                f"use {name}_values when {low:g} and {high:g} are the values themselves",
            )


def _ten(exponent: float) -> str:
    return _dotted(repr(10.0**exponent)) if abs(exponent) < 300 else f"10^{exponent:g}"


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


def _int_bounds(config: Mapping[str, Any]) -> _Found:
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
    size = grid_size(experiment)
    if experiment.is_grid and size > 100_000 and experiment.run_cap is None:
        yield (
            "method",
            f"the grid has {size:,} cells and no run_cap",
            "use method: random or bayes, or add run_cap",
        )


def _grid_space(config: Mapping[str, Any]) -> _Found:
    """A grid over what has no list of values."""
    if config.get("method") != "grid":
        return
    for path, spec in _entries(config.get("parameters"), "parameters"):
        name = spec.get("distribution")
        if name is None and {"min", "max"} <= spec.keys():
            whole = all(type(spec[bound]) is int for bound in ("min", "max"))
            name = "int_uniform" if whole else "uniform"
        elif name is None and {"values", "probabilities"} <= spec.keys():
            name = "categorical_w_probabilities"
        native = DISTRIBUTIONS.get(name) if isinstance(name, str) else None
        if native is not None and not native.grid:
            what = "weighted values" if "values" in spec else f"{name}, which has no list of values"
            yield (
                f"{path}.distribution",
                f"method grid cannot enumerate {what}",
                "list the values, use q_uniform, or method: random or bayes",
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


def _goal(config: Mapping[str, Any], experiment: Experiment) -> _Found:
    """A goal that contradicts the metric's name."""
    if experiment.objective is None:
        return
    goal, usual = experiment.objective.goal, usual_goal(experiment.objective.name)
    if usual is None or goal == usual:
        return
    yield (
        "metric.goal",
        f"{experiment.objective.name} is to be {goal.removesuffix('e')}ed",
        f"is goal: {usual} meant?"
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


def _keys(config: Mapping[str, Any]) -> _Found:
    """Keys that nobody reads."""
    yield from _unknown("", config, KNOWN, "W&B knows no such key, and ignores it")
    for name, known in (("metric", METRIC), ("early_terminate", EARLY_TERMINATE)):
        if isinstance(config.get(name), Mapping):
            yield from _unknown(f"{name}.", config[name], known, f"{name} has no such key")
    for path, spec in _entries(config.get("parameters"), "parameters"):
        yield from _unknown(f"{path}.", spec, _PARAMETER, "a parameter has no such key")


_PARAMETER = ("distribution", "value", "values", "probabilities", "parameters", *_NUMBERS)


def _unknown(prefix: str, mapping: Mapping[Any, Any], known: Iterable[str], what: str) -> _Found:
    for key in mapping:
        if key not in known:
            free = [name for name in known if name not in mapping and name not in KEPT]
            near = suggest(str(key), free)
            place = "parameters" if prefix else "parameters, as {value: ...}, if runs need it"
            yield f"{prefix}{key}", what, near or f"remove it, or put it below {place}"


def _alone(config: Mapping[str, Any]) -> _Found:
    """Mappings that Ray would execute or expand."""
    for path, value in _walk(config.get("parameters"), "parameters"):
        if isinstance(value, Mapping) and len(value) == 1:
            (key,) = value
            if key in ("eval", "grid_search"):
                act = "execute its text as Python" if key == "eval" else "expand it as a grid"
                yield (
                    path,
                    f"a mapping with the lone key {key!r}: Ray would {act}",
                    "add another key beside it, or rename it",
                )


def _program(config: Mapping[str, Any]) -> _Found:
    """Nothing that an agent could start."""
    if not startable(config):
        what, fix = NO_PROGRAM
        yield "program", what, f"{fix}, unless a function is given to wandb.agent"


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, f"{path}.{key}")
    elif _is_list(value):
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}[{index}]")


def _method(config: Mapping[str, Any]) -> _Found:
    """No method, or one that W&B does not have."""
    method = config.get("method")
    if method is None or method in METHODS or "tune" in config:
        return
    near = suggest(str(method), list(METHODS))
    yield "method", f"W&B has no method {method!r}", near or f"use one of {', '.join(METHODS)}"


FILE_RULES: dict[str, _FileRule] = {
    "text-number": _text_number,
    "exponents": _exponents,
    "int-bounds": _int_bounds,
    "grid-space": _grid_space,
    "lone-key": _alone,
    "method": _method,
    "program": _program,
    "keys": _keys,
}
"""Rules that look at the file alone, which may be one that no reader takes."""

SEARCH_RULES: dict[str, _SearchRule] = {
    "left-bounds": _left_bounds,
    "duplicates": _duplicates,
    "wide-quantum": _wide_quantum,
    "large-grid": _large_grid,
    "no-end": _no_end,
    "rungs": _rungs,
    "goal": _goal,
    "macros": _macros,
}
"""Rules that look at what the file says."""

HINTS = frozenset({"no-end"})
"""Rules whose findings are no mistakes by themselves, and fail no check."""

RULES = (*FILE_RULES, *SEARCH_RULES, INVALID)
"""All names, in the order of findings; `INVALID` is what a reader refuses and no rule knows."""


def _entries(parameters: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every entry of ``parameters``, nested ones too."""
    if not isinstance(parameters, Mapping):
        return
    for name, spec in parameters.items():
        here = f"{path}.{name}"
        if isinstance(spec, Mapping):
            yield here, spec
            yield from _entries(spec.get("parameters"), f"{here}.parameters")
