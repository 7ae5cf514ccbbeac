"""How much each parameter matters for a metric, and how sure that is.

Three measures, each of another question:

* ``forest``: the share of the ranking that a random forest explains by the parameter (mean decrease
  in impurity, summed to 1 over the parameters that are active together).
* ``ped_anova``: how differently the best tenth of the runs is distributed along the parameter
  (PED-ANOVA, Watanabe, Bansal, Hutter, IJCAI 2023), summed to 1; see `parzen`.
* ``correlation``: Spearman's rho with its sign for numbers; eta squared, the share of the variance
  between the options, for categories.

The metric is replaced by its ranks, so that one diverged run does not decide. A parameter that only
some runs have is measured on these alone. Intervals are the 5th and 95th percentile over resamples
of the runs. A share is never negative, so that few runs give one to a parameter of no effect, too,
and take it from the others: the lower end is less by what the parameter gets when it is shuffled,
and the forest's upper end is more by as much as all get then. Below `FEW` runs nothing is said.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tune_bridge.errors import MissingExtraError
from tune_bridge.server.values import is_number, text

__all__ = ["FEW", "MEASURES", "Importance", "measure", "measures"]

FEW = 20
"""Runs below which nothing is said."""

_SAMPLE = 1000  # runs that each tree sees at most
_GROUPS, _TREES = 10, 8  # resamples for the interval, and trees for each
_SHADOWS = 3  # shuffles for the share of a parameter of no effect
_AGAIN = 40  # resamples of the measures without trees
_MOST = 5000  # runs that a resample of the correlations sees at most
_PATTERNS = 24  # sets of parameters that are active together, at most


class Importance(msgspec.Struct, frozen=True):
    """What is known of one parameter.

    Attributes:
        path: The parameter.
        value: The measure; None when there are too few runs to say, or it never varied.
        low: Lower end of its interval, or None.
        high: Upper end, or None.
        runs: Runs that it was measured on.
        signed: Whether the measure has a sign.
    """

    path: str
    value: float | None
    low: float | None = None
    high: float | None = None
    runs: int = 0
    signed: bool = False


class _Column(msgspec.Struct, frozen=True):
    """One parameter that all runs have.

    Attributes:
        path: Its name.
        values: Its values.
        numbers: The same as an array when all are numbers, else None.
    """

    path: str
    values: Sequence[Any]
    numbers: Any

    @classmethod
    def of(cls, path: str, values: Sequence[Any]) -> _Column:
        import numpy as np

        plain = set(map(type, values)) <= {int, float} or all(map(is_number, values))
        if not plain or not all(map(_finite, values)):
            return cls(path, values, None)
        return cls(path, values, np.asarray(values, dtype=float))

    @property
    def varies(self) -> bool:
        if self.numbers is not None:
            return bool((self.numbers != self.numbers[0]).any())
        first = _label(self.values[0])
        return any(_label(value) != first for value in self.values)

    @property
    def codes(self) -> tuple[list[str], Any]:
        """Its options as labels, in order, and which one each run has."""
        import numpy as np

        labels = [_label(value) for value in self.values]
        kinds = sorted(set(labels))
        places = {kind: place for place, kind in enumerate(kinds)}
        return kinds, np.asarray([places[label] for label in labels])

    def scaled(self, log: frozenset[str]) -> Any:
        """Its numbers as they are searched."""
        import numpy as np

        logged = self.path in log and bool((self.numbers > 0).all())
        return np.log(self.numbers) if logged else self.numbers


def _finite(value: Any) -> bool:
    return is_number(value) and abs(value) < 1e300 and math.isfinite(value)


def measure(
    columns: Mapping[str, Sequence[Any]],
    target: Sequence[float],
    kind: str,
    log: frozenset[str] = frozenset(),
) -> list[Importance]:
    """The importance of each parameter, the largest first.

    Args:
        columns: The values of each parameter, one for each run; None where a run does not have it.
        target: The metric of each run.
        kind: Key of `MEASURES`.
        log: Parameters that were searched on a log scale.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    import numpy as np

    ranks = _ranks(np.asarray(target, dtype=float))
    there = {
        path: np.array([value is not None for value in values], dtype=bool)
        for path, values in columns.items()
    }
    found: dict[str, Importance] = {}
    for mask, names in _patterns(there):
        rows = np.flatnonzero(mask).tolist()
        if len(rows) < FEW:
            for name in names:
                found[name] = Importance(name, None, runs=len(rows))
            continue
        whole = len(rows) == len(mask)
        together = [
            _Column.of(path, values if whole else [values[row] for row in rows])
            for path, values in columns.items()
            if there[path][mask].all()
        ]
        varied = [one for one in together if one.varies]
        answers = MEASURES[kind](varied, ranks[rows], log) if varied else {}
        for name in names:
            found[name] = answers.get(name, Importance(name, None, runs=len(rows)))
    return sorted(found.values(), key=lambda one: -abs(one.value or 0.0))


def _ranks(values: Any) -> Any:
    """Ranks from 0 to 1, ties in the middle."""
    from scipy.stats import rankdata

    return (rankdata(values) - 0.5) / len(values) if len(values) else values


def _patterns(there: Mapping[str, Any]) -> list[tuple[Any, list[str]]]:
    """The sets of runs that have a parameter, with the parameters of each; the largest first."""
    groups: dict[bytes, tuple[Any, list[str]]] = {}
    for path, mask in there.items():
        groups.setdefault(mask.tobytes(), (mask, []))[1].append(path)
    return sorted(groups.values(), key=lambda group: -int(group[0].sum()))[:_PATTERNS]


def _label(value: Any) -> str:
    return f"{type(value).__name__}:{text(value)}"


def _matrix(columns: Sequence[_Column], log: frozenset[str]) -> tuple[Any, list[str]]:
    """Numbers as they are searched, options as one column each; whose column each one is."""
    import numpy as np

    parts, owners = [], []
    for column in columns:
        if column.numbers is not None:
            parts.append(column.scaled(log))
            owners.append(column.path)
            continue
        kinds, codes = column.codes
        parts += [(codes == place).astype(float) for place in range(len(kinds))]
        owners += [column.path] * len(kinds)
    return np.column_stack(parts).astype(np.float32), owners


def _forest(columns: Sequence[_Column], target: Any, log: frozenset[str]) -> dict[str, Importance]:
    import numpy as np

    try:
        from sklearn.ensemble import RandomForestRegressor
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "dashboard", "importance by forest") from error

    matrix, owners = _matrix(columns, log)
    runs = len(target)
    rng = np.random.default_rng(0)
    forests = []
    for seed in range(_GROUPS):
        # A forest on each resample of the runs: trees of one forest differ by less than runs do.
        forest = RandomForestRegressor(
            _TREES, bootstrap=False, min_samples_leaf=2, max_features=0.5, random_state=seed
        )
        rows = rng.integers(0, runs, min(runs, _SAMPLE))
        forests.append(forest.fit(matrix[rows], target[rows]).feature_importances_)
    names = [column.path for column in columns]
    summing = np.array([[owner == name for owner in owners] for name in names], dtype=float)
    groups = np.array(forests) @ summing.T
    low, high = np.percentile(groups, [5, 95], axis=0)
    shadows = []
    for seed in range(_SHADOWS):  # beside each parameter stands one like it without an effect
        rows = rng.integers(0, runs, min(runs, _SAMPLE))
        beside = np.column_stack([matrix[rows], matrix[rng.permutation(rows)]])
        forest = RandomForestRegressor(
            _TREES, bootstrap=False, min_samples_leaf=2, max_features=0.5, random_state=seed
        )
        shadows.append(forest.fit(beside, target[rows]).feature_importances_[matrix.shape[1] :])
    noise = np.mean(shadows, axis=0) @ summing.T
    low, high = np.maximum(low - noise, 0.0), np.minimum(high / (1 - noise.sum()), 1.0)
    return {
        name: Importance(name, float(value), float(low[place]), float(high[place]), runs)
        for place, (name, value) in enumerate(zip(names, groups.mean(axis=0), strict=True))
    }


def _correlation(
    columns: Sequence[_Column], target: Any, log: frozenset[str]
) -> dict[str, Importance]:
    import numpy as np

    rng = np.random.default_rng(0)
    found = {}
    for column in columns:
        signed = column.numbers is not None
        values = _ranks(column.numbers) if signed else column.codes[1]
        one: Callable[[Any, Any], float] = _pearson if signed else _eta_squared
        picks = rng.integers(0, len(target), (_AGAIN, min(len(target), _MOST)))
        again = [one(values[pick], target[pick]) for pick in picks]
        low, high = np.percentile(again, [5, 95])
        found[column.path] = Importance(
            column.path, one(values, target), float(low), float(high), len(target), signed
        )
    return found


def _pearson(values: Any, target: Any) -> float:
    x, y = values - values.mean(), target - target.mean()
    norm = math.sqrt(float((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / norm if norm else 0.0


def _eta_squared(kinds: Any, target: Any) -> float:
    import numpy as np

    counts = np.bincount(kinds)
    sums = np.bincount(kinds, weights=target)
    there = counts > 0
    between = (sums[there] ** 2 / counts[there]).sum() - target.sum() ** 2 / len(target)
    total = ((target - target.mean()) ** 2).sum()
    return float(between / total) if total else 0.0


def _ped_anova(
    columns: Sequence[_Column], target: Any, log: frozenset[str]
) -> dict[str, Importance]:
    import numpy as np

    from tune_bridge.server.analysis import parzen

    grids = {}
    for column in columns:
        if column.numbers is None:
            kinds, codes = column.codes
            grids[column.path] = parzen.Grid(codes, len(kinds), ordered=False)
            continue
        whole = all(isinstance(value, int) for value in column.values)
        logged = column.path in log and float(column.numbers.min()) > 0
        grids[column.path] = parzen.grid(column.numbers, whole=whole, log=logged)

    def raw(rows: Any, ranks: Any) -> dict[str, float]:
        # What is lower is better here: the ranks are made so by the caller.
        best = parzen.best(ranks)
        return {path: grid.divergence(rows, rows[best]) for path, grid in grids.items()}

    def once(rows: Any) -> dict[str, float]:
        return _shares(raw(rows, target[rows]))

    rng = np.random.default_rng(0)
    runs = len(target)
    value = once(np.arange(runs))
    again = [once(rng.integers(0, runs, min(runs, _MOST))) for _ in range(_AGAIN)]
    picks = [rng.integers(0, runs, min(runs, _MOST)) for _ in range(_SHADOWS)]
    noise = [raw(rows, rng.permutation(target[rows])) for rows in picks]
    total = sum(_finite_only(raw(picks[0], target[picks[0]])).values()) or 1.0
    found = {}
    for path, share in value.items():
        low, high = np.percentile([one[path] for one in again], [5, 95])
        low = max(low - sum(_finite_only(one).get(path, 0) for one in noise) / total / _SHADOWS, 0)
        found[path] = Importance(path, share, min(float(low), share), max(float(high), share), runs)
    return found


def _finite_only(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def _shares(values: Mapping[str, float]) -> dict[str, float]:
    finite = _finite_only(values)
    total = sum(finite.values()) or 1.0
    return {name: finite.get(name, 0.0) / total for name in values}


_Measure = Callable[[Sequence[_Column], Any, frozenset[str]], dict[str, Importance]]

MEASURES: dict[str, _Measure] = {
    "forest": _forest,
    "ped_anova": _ped_anova,
    "correlation": _correlation,
}
"""Name -> how it is computed: from columns without gaps, and ranks, lower for better runs."""

_NEEDS = {"forest": "sklearn", "ped_anova": "scipy", "correlation": "scipy"}


def measures() -> list[str]:
    """The measures whose libraries are installed."""
    return [kind for kind in MEASURES if importlib.util.find_spec(_NEEDS[kind]) is not None]
