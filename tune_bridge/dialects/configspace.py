"""ConfigSpace's configuration spaces, live or as their serialised dict (JSON).

The laws are those of ConfigSpace 1.2: bounds are rounded to 13 decimals, normals are cut at their
bounds, and a discrete law takes equal bins of its continuous one (of the values for log integers,
of the unit interval for normal and beta ones). Conditions are branches of the tree. What it cannot
say, forbidden combinations among it, is kept as it is for the way back, and a note says so.
"""

from __future__ import annotations

import itertools
import json
import math
from statistics import NormalDist
from typing import Any

from tune_bridge import laws
from tune_bridge.dialects.configspace_conditions import (
    names_in,
    read_conditions,
    write_conditions,
)
from tune_bridge.dialects.flat_laws import MOST_OPTIONS, distance
from tune_bridge.dialects.flat_space import FlatDialect, Named, options, unknown
from tune_bridge.dialects.python_space import at_path, short, type_name
from tune_bridge.dialects.sweep.carry import decode_node, encode_node
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.notes import Notes
from tune_bridge.space import Beta, Choice, Constant, Integers, Node, Normal, Parameter, Uniform

__all__ = ["ConfigSpaceDialect"]

_META = "tune_bridge"
"""The key in the meta data of a hyperparameter for the law that it only comes near to."""

_PLACES = 13
_SIGMAS = 8.0
"""How far out the bounds of a normal are written: less than 1.3e-15 lies beyond."""

_NUMBERS = ("lower", "upper", "log")
_KEYS: dict[str, tuple[str, ...]] = {
    "uniform_float": _NUMBERS,
    "uniform_int": _NUMBERS,
    "normal_float": ("mu", "sigma", *_NUMBERS),
    "normal_int": ("mu", "sigma", *_NUMBERS),
    "beta_float": ("alpha", "beta", *_NUMBERS),
    "beta_int": ("alpha", "beta", *_NUMBERS),
    "categorical": ("choices", "weights"),
    "ordinal": ("sequence",),
    "constant": ("value",),
}


def _spec(row: Any, index: int) -> tuple[str, dict[str, Any]]:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise SpecError("not a hyperparameter", path=f"hyperparameters[{index}]", found=short(row))
    with at_path(row["name"].replace("/", ".")):
        kind = row.get("type")
        if kind not in _KEYS:
            raise unknown("type of hyperparameter", kind, _KEYS)
        spec: dict[str, Any] = {"type": kind}
        for key in _KEYS[kind]:
            if key not in row and key not in ("log", "weights"):
                raise SpecError(f"{key} is missing", found=short(row), expected=key)
            spec[key] = row.get(key, False if key == "log" else None)
        for key in ("lower", "upper", "mu", "sigma", "alpha", "beta"):
            if key in spec:
                spec[key] = _number(spec[key], key, kind.endswith("_int") and "er" in key)
        for key in ("choices", "sequence", "weights"):
            if spec.get(key) is not None:
                spec[key] = list(spec[key])
        default = row.get("default_value")
        if default is not None and not _is_default(default, spec):
            spec["default_value"] = default
        if row.get("meta") is not None:
            spec["meta"] = row["meta"]
        return row["name"], spec


def _number(value: Any, key: str, whole: bool) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{key} is not a number", path=key, found=short(value))
    return round(value) if whole else round(float(value), _PLACES)


def _is_default(value: Any, spec: dict[str, Any]) -> bool:
    """Whether ConfigSpace would choose this default by itself."""
    if "choices" in spec or "sequence" in spec:
        values, weights = spec.get("choices") or spec["sequence"], spec.get("weights")
        best = values[weights.index(max(weights))] if weights else values[0]
        return bool(value == best)
    low, high = spec["lower"], spec["upper"]
    if "mu" in spec:
        middle = min(max(spec["mu"], low), high)
    elif "alpha" in spec:
        return True
    else:
        middle = math.sqrt(low * high) if spec["log"] and low > 0 else (low + high) / 2
    gap = 0.51 if spec["type"].endswith("_int") else 1e-9 * max(abs(middle), 1e-3)
    return bool(abs(value - middle) <= gap)


# Laws ---------------------------------------------------------------------------------------------


def _uniform_float(spec: dict[str, Any], path: str, notes: Notes) -> Node:
    return Parameter(Uniform(spec["lower"], spec["upper"], "log" if spec["log"] else "linear"))


def _uniform_int(spec: dict[str, Any], path: str, notes: Notes) -> Node:
    low, high = spec["lower"], spec["upper"]
    if not spec["log"]:
        return Parameter(Integers(low, high))
    if low < 1:
        raise SpecError("a log scale needs positive bounds", path="lower", found=str(low))
    width = (high - low) / (high - low + 1)
    logs = [math.log(low + k * width) for k in range(min(high - low, _MOST) + 2)]
    weights = [(b - a) / math.log(high / low) for a, b in itertools.pairwise(logs)]
    near = Parameter(Uniform(low - 0.5, high + 0.5, "log", q=1, integer=True))
    return _binned(range(low, high + 1), weights, near, path, notes)


_MOST = 20_000


def _binned(values: range, weights: list[float], near: Node, path: str, notes: Notes) -> Node:
    """A list of values where it is short enough, and else the law that is near."""
    if len(values) <= MOST_OPTIONS:
        return options(list(values), weights)
    if len(values) <= _MOST:
        exact = options(list(values), weights)
        away = f"total variation distance {distance(exact, near):.2g}"
    else:
        away = f"{len(values)} values are too many to compare"
    notes.approximated(path, "its bins as rounding", away)
    return near


def _cut(law: Normal, spec: dict[str, Any], path: str, notes: Notes) -> float:
    """The share of a normal that its bounds cut off."""
    inside = laws.cdf(law, spec["upper"]) - laws.cdf(law, spec["lower"])
    if inside < 1 - 1e-12:
        notes.approximated(path, "without its bounds", f"total variation distance {1 - inside:.2g}")
    return 1 - inside


def _normal(spec: dict[str, Any], **rounding: Any) -> Normal:
    if spec["sigma"] <= 0:
        raise SpecError("sigma is not positive", path="sigma", found=str(spec["sigma"]))
    if not spec["log"]:
        return Normal(spec["mu"], spec["sigma"], **rounding)
    # ConfigSpace takes |ln(lower + sigma)| for the deviation of the logarithm.
    if spec["mu"] <= 0 or spec["lower"] <= 0:
        raise SpecError("a log scale needs positive numbers", found=f"mu {spec['mu']:g}")
    return Normal(
        math.log(spec["mu"]), abs(math.log(spec["lower"] + spec["sigma"])), "log", **rounding
    )


def _normal_float(spec: dict[str, Any], path: str, notes: Notes) -> Node:
    law = _normal(spec)
    _cut(law, spec, path, notes)
    return Parameter(law)


def _normal_int(spec: dict[str, Any], path: str, notes: Notes) -> Node:
    low, high = spec["lower"], spec["upper"]
    count = high - low + 1
    if spec["log"]:
        raise UnsupportedError("normal integers on a log scale cannot be translated")
    unit = NormalDist((spec["mu"] - low) / (high - low), spec["sigma"] / (high - low))
    sums = [unit.cdf(k / count) for k in range(min(count, _MOST) + 1)]
    weights = [b - a for a, b in itertools.pairwise(sums)]
    near = Parameter(_normal(spec, q=1, integer=True))
    return _binned(range(low, high + 1), weights, near, path, notes)


def _beta_float(spec: dict[str, Any], path: str, notes: Notes) -> Node:
    if spec["log"] or (spec["lower"], spec["upper"]) != (0.0, 1.0):
        raise UnsupportedError(
            "a beta distribution on other bounds than 0 and 1",
            found=f"{spec['lower']:g} and {spec['upper']:g}{', log' if spec['log'] else ''}",
            hint="search between 0 and 1 and scale in the program",
        )
    return Parameter(Beta(spec["alpha"], spec["beta"]))


def _beta_int(spec: dict[str, Any], path: str, notes: Notes) -> Node:
    low, high = spec["lower"], spec["upper"]
    count = high - low + 1
    if spec["log"] or count > MOST_OPTIONS:
        raise UnsupportedError(
            f"beta integers on a log scale, or more than {MOST_OPTIONS}, cannot be translated"
        )
    law = Beta(spec["alpha"], spec["beta"])
    sums = [laws.cdf(law, k / count) for k in range(count + 1)]
    return options(list(range(low, high + 1)), [b - a for a, b in itertools.pairwise(sums)])


def _categorical(spec: dict[str, Any], path: str, notes: Notes) -> Node:
    return options(_one_type(spec["choices"]), spec["weights"])


def _one_type(values: list[Any]) -> list[Any]:
    """Numbers as the one type that numpy gives an array of them."""
    kinds = {type(value) for value in values}
    if len(kinds) > 1 and kinds <= {bool, int, float}:
        return [float(value) if float in kinds else int(value) for value in values]
    return values


_READERS: dict[str, Any] = {
    "uniform_float": _uniform_float,
    "uniform_int": _uniform_int,
    "normal_float": _normal_float,
    "normal_int": _normal_int,
    "beta_float": _beta_float,
    "beta_int": _beta_int,
    "categorical": _categorical,
    "ordinal": lambda spec, path, notes: options(spec["sequence"]),
    "constant": lambda spec, path, notes: Constant.of(spec["value"], path),
}


# Spelling -----------------------------------------------------------------------------------------


def _make_float(low: float, high: float, log: bool) -> Any:
    low, high = round(float(low), _PLACES), round(float(high), _PLACES)
    if not low < high or (log and low <= 0):
        return None
    return {"type": "uniform_float", "lower": low, "upper": high, "log": log}


def _make_int(low: int, high: int, step: int, log: bool) -> Any:
    if step != 1 or (log and low < 1) or low == high:
        return None
    return {"type": "uniform_int", "lower": low, "upper": high, "log": log}


def _make_normal(law: Normal) -> Any:
    mu, sigma = round(law.mu, _PLACES), round(law.sigma, _PLACES)
    if law.q is not None or sigma <= 0:
        return None
    if law.scale == "log":
        return _make_lognormal(law)
    ends = {
        "lower": round(mu - _SIGMAS * sigma, _PLACES),
        "upper": round(mu + _SIGMAS * sigma, _PLACES),
    }
    return {"type": "normal_float", "mu": mu, "sigma": sigma, **ends, "log": False}


def _make_lognormal(law: Normal) -> Any:
    """The deviation of the logarithm is |ln(lower + sigma)| there: so sigma makes up for lower."""
    try:
        ends = [math.exp(law.mu + side * _SIGMAS * law.sigma) for side in (-1, 1)]
        mu, sum_ = math.exp(law.mu), math.exp(law.sigma)
    except OverflowError:
        return None
    low, high = (round(end, _PLACES) for end in ends)
    sigma = round(sum_ - low, _PLACES)
    # Thirteen decimals have to be enough for the bounds and the mean.
    if low < 1e-6 or sigma <= 0 or high > 1e9:
        return None
    ends_ = {"lower": low, "upper": high}
    return {"type": "normal_float", "mu": round(mu, _PLACES), "sigma": sigma, **ends_, "log": True}


def _make_beta(law: Beta) -> Any:
    if law.q is not None or law.a < 1 or law.b < 1:
        return None
    shapes = {"alpha": round(law.a, _PLACES), "beta": round(law.b, _PLACES)}
    return {"type": "beta_float", **shapes, "lower": 0.0, "upper": 1.0, "log": False}


def _make_options(values: list[Any], weights: Any) -> Any:
    # ConfigSpace compares options as arrays and fails on some lists: they go as text.
    values = [json.dumps(v) if isinstance(v, list | tuple | dict) else v for v in values]
    kept: list[Any] = []
    shares: list[float] = []
    for value, weight in zip(values, weights or [1.0] * len(values), strict=True):
        if value in kept:
            shares[kept.index(value)] += weight
        else:
            kept.append(value)
            shares.append(weight)
    even = max(shares) == min(shares)
    return {"type": "categorical", "choices": kept, "weights": None if even else shares}


def _make_constant(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return {"type": "constant", "value": value}


class ConfigSpaceDialect(FlatDialect):
    """A live ``ConfigurationSpace``, or its serialised dict."""

    name = "configspace"
    suffixes = (".json",)
    title = "ConfigSpace hyperparameters"
    conditional = True
    makers = {  # noqa: RUF012 - never changed
        "float": _make_float,
        "int": _make_int,
        "normal": lambda law: _make_normal(law) if isinstance(law, Normal) else None,
        "beta": _make_beta,
        "constant": _make_constant,
        "options": _make_options,
    }

    def rows(self, source: Any, notes: Notes) -> tuple[list[Named], dict[str, Any]]:
        """Hyperparameters; what the tree cannot say as extras."""
        if type(source).__module__.partition(".")[0] == "ConfigSpace":
            source = source.to_serialized_dict()
        if not isinstance(source, dict) or not isinstance(source.get("hyperparameters"), list):
            raise UnsupportedError(
                "not a configuration space",
                found=type_name(source),
                expected="a ConfigurationSpace, or a mapping with hyperparameters",
            )
        found: dict[str, Any] = {}
        for index, row in enumerate(source["hyperparameters"]):
            name, spec = _spec(row, index)
            if name in found:
                raise SpecError("two hyperparameters of one name", path=name)
            found[name] = spec
        extras = {
            key: json.loads(json.dumps(source[key], default=_plain))
            for key in ("name", "conditions", "forbiddens")
            if source.get(key)
        }
        whens, unsaid = read_conditions(extras.get("conditions", []), found)
        _remark(unsaid, extras.get("forbiddens", []), notes)
        if unsaid:
            extras["unsaid"] = unsaid
        return [(name, spec, whens.get(name, {})) for name, spec in found.items()], extras

    def adapted(self, extras: dict[str, Any], rows: list[Named], notes: Notes) -> dict[str, Any]:
        """What still fits the hyperparameters that there are now."""
        names = {name for name, _, _ in rows}
        kept = {key: value for key, value in extras.items() if key == "name"}
        conditions = write_conditions(rows)
        for key in ("unsaid", "forbiddens"):
            fits = [clause for clause in extras.get(key, ()) if names_in(clause) <= names]
            if len(fits) < len(extras.get(key, ())):
                notes.lost(
                    "forbiddens" if key == "forbiddens" else "conditions",
                    "left out",
                    "the space was changed, and some name a hyperparameter that is gone",
                )
            kept[key] = fits
        return {**kept, "conditions": [*conditions, *kept["unsaid"]]}

    def node(self, spec: Any, path: str, notes: Notes) -> Node:
        """The law of one hyperparameter."""
        data = (spec.get("meta") or {}).get(_META)
        if data is not None:
            exact = decode_node(data, f"{path}.meta.{_META}")
            if self.trusted(exact, spec):
                return exact
            notes.exact(path, "without what its meta data say", "the hyperparameter was changed")
        if spec.get("lower", 0) == spec.get("upper", 1):
            return Constant.of(spec["lower"])
        node: Node = _READERS[spec["type"]](spec, path, notes)
        return node

    def carrying(self, spec: Any, leaf: Parameter | Choice | Constant) -> Any:
        """ConfigSpace keeps meta data with each hyperparameter."""
        return {**spec, "meta": {_META: encode_node(leaf)}}

    def native(self, rows: list[Named], extras: dict[str, Any]) -> Any:
        """The serialised dict, which ``ConfigurationSpace.from_serialized_dict`` takes."""
        return {
            "name": extras.get("name"),
            "hyperparameters": [{"name": name, **spec} for name, spec, _ in rows],
            "conditions": extras.get("conditions") or write_conditions(rows),
            "forbiddens": extras.get("forbiddens", []),
            "format_version": 0.4,
        }

    def text(self, native: Any) -> str:
        """JSON, as ``ConfigurationSpace.from_json`` reads it."""
        return json.dumps(native, indent=2) + "\n"


def _remark(unsaid: list[Any], forbiddens: list[Any], notes: Notes) -> None:
    for condition in unsaid:
        notes.approximated(
            str(condition.get("child", "conditions")).replace("/", "."),
            "sampled always",
            f"a condition that is no branch says when it counts: {_sentence(condition)}",
            "it is kept for ConfigSpace",
        )
    for clause in forbiddens:
        notes.approximated(
            "forbiddens",
            f"sampled too: {_sentence(clause)}",
            "forbidden combinations have no place",
            "it is kept for ConfigSpace",
        )


def _sentence(clause: dict[str, Any]) -> str:
    rest = {key: value for key, value in clause.items() if key != "child"}
    return short(rest, 100)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else list(value)
