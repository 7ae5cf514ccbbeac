"""Define-by-run spaces: calls a function with trials that record what it suggests.

Text and integers that are suggested notice when the function looks at them, and what is looked at
is explored with all its values, depth first; everything else is tried with another value, to see
whether that changes what is suggested. So a function that decides by choices and short integer
ranges becomes a tree of conditions. One that decides by a float cannot, and a note says so.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Iterable
from typing import Any

from tune_bridge.dialects.calls import Call, parse_signatures
from tune_bridge.dialects.flat_conditions import MOST_VALUES
from tune_bridge.dialects.optuna_training import until_training
from tune_bridge.dialects.python_space import short
from tune_bridge.errors import InputError, SpecError, UnsupportedError
from tune_bridge.notes import Notes

__all__ = ["MOST_RUNS", "trace"]

MOST_RUNS = 1000
"""How often the function is called at most."""

_SUGGEST = parse_signatures(
    "optuna.trial",
    """
    suggest_float(name, low, high, *, step=None, log=False)
    suggest_int(name, low, high, *, step=1, log=False)
    suggest_categorical(name, choices)
    suggest_uniform(name, low, high)
    suggest_loguniform(name, low, high)
    suggest_discrete_uniform(name, low, high, q)
    """,
)

_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "suggest_float": ("FloatDistribution", {}),
    "suggest_int": ("IntDistribution", {}),
    "suggest_categorical": ("CategoricalDistribution", {}),
    "suggest_uniform": ("FloatDistribution", {}),
    "suggest_loguniform": ("FloatDistribution", {"log": True}),
    "suggest_discrete_uniform": ("FloatDistribution", {}),
}


class _Over(BaseException):
    """The function has begun to report: what it does from there on is training."""


_SILENT = ("set_user_attr", "set_system_attr")
"""What an objective tells a trial that is not about its space."""


class _Trial:
    """A recording trial.

    Args:
        taken: Places of the values that deciding parameters take, in order; then first ones.
        deciding: The parameters that are explored.
        others: Another place than the first for parameters that are not.
    """

    number = 0

    def __init__(self, taken: list[int], deciding: set[str], others: dict[str, int]) -> None:
        self.taken = taken
        self.deciding = deciding
        self.others = others
        self.noticed: set[str] = set()
        self.params: dict[str, Any] = {}
        self.plain: dict[str, Any] = {}
        self.found: dict[str, dict[str, Any]] = {}
        self.decisions: list[tuple[str, int, int]] = []

    def __getattr__(self, name: str) -> Any:
        if name in _SILENT:
            return lambda *args, **kwargs: None
        if name in ("report", "should_prune"):
            raise _Over
        signature = _SUGGEST.get(name)
        if signature is None:
            raise UnsupportedError(
                f"the space calls trial.{name}, which says nothing about it",
                path=name,
                expected="only suggest_* in the function that describes the space",
                hint="move the suggestions to a function of their own and give that one",
            )

        def suggest(*args: Any, **kwargs: Any) -> Any:
            call = signature.call(*args, **kwargs)
            return self._suggest(call)

        return suggest

    def _suggest(self, call: Call) -> Any:
        kind, fixed = _KINDS[call.name]
        attributes = {**fixed, **call.arguments}
        name = str(attributes.pop("name"))
        if "q" in attributes:
            attributes["step"] = attributes.pop("q")
        spec = {"name": kind, "attributes": attributes}
        if name in self.found:
            if self.found[name] != spec:
                raise UnsupportedError(
                    "suggested with two distributions",
                    path=name,
                    found=f"{short(self.found[name]['attributes'])} and {short(attributes)}",
                    hint="give each of them a name of its own",
                )
            return self.params[name]
        self.found[name] = spec
        value = self._value(name, spec)
        self.plain[name] = value
        wrapper = _WRAPPERS.get(type(value))
        if wrapper is not None:
            value = wrapper(value)
            noticed = self.noticed  # not the trial: who still has that is counted
            value.noticed = lambda: noticed.add(name)
        self.params[name] = value
        return value

    def _value(self, name: str, spec: dict[str, Any]) -> Any:
        values = _values(name, spec)
        if name not in self.deciding:
            return values[self.others.get(name, 0)]
        step = len(self.decisions)
        index = self.taken[step] if step < len(self.taken) else 0
        self.decisions.append((name, index, len(values)))
        return values[index]


def _values(name: str, spec: dict[str, Any]) -> list[Any]:
    """The values to be tried: all of them, or the lowest and the highest of too many."""
    given = spec["attributes"]
    if spec["name"] == "CategoricalDistribution":
        choices = list(given["choices"])
        if not choices:
            raise SpecError("no options", path=name, found="[]", expected="a list of values")
        return choices
    ends = [given["low"], given["high"]]
    if spec["name"] == "IntDistribution":
        values = range(given["low"], given["high"] + 1, given.get("step") or 1)
        return list(values) if 0 < len(values) <= MOST_VALUES else ends
    return [float(end) for end in ends]


_FEW = 16


def _places(name: str, spec: dict[str, Any]) -> Iterable[int]:
    """Where the other values are that are tried in place of the first one.

    Options that are text or numbers notice when they are looked at: a few of many are enough.
    """
    values = _values(name, spec)
    last = len(values) - 1
    if not spec["name"].startswith("Cat"):
        return [last]
    if last < _FEW or not all(type(value) in _WRAPPERS for value in values):
        return range(1, last + 1)
    return [1, last // 2, last]


def _finite(spec: dict[str, Any]) -> bool:
    if spec["name"] != "IntDistribution":
        return bool(spec["name"] == "CategoricalDistribution")
    given = spec["attributes"]
    return bool((given["high"] - given["low"]) // (given.get("step") or 1) < MOST_VALUES)


def _in_library(file: str) -> bool:
    """Whether code is a library's: that checks what it is given, and suggests nothing."""
    return file.startswith(_LIBRARIES)


_LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def _noticing(plain: type, operation: str) -> Callable[..., Any]:
    def look(self: Any, *args: Any) -> Any:
        if not _in_library(sys._getframe(1).f_code.co_filename):
            self.noticed()
        return getattr(plain, operation)(self, *args)

    return look


_LOOKS = (
    "__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__", "__bool__", "__index__", "__hash__",
    "__contains__", "__getitem__", "__str__", "__format__", "__len__", "__iter__", "startswith",
    "endswith", "lower", "upper", "split", "__add__", "__radd__", "__mod__", "__floordiv__",
    "__sub__", "__mul__",
)  # fmt: skip
_NUMBERS = (*_LOOKS[:8], "__mod__", "__floordiv__")
"""What shows a number to the function; arithmetic with it is no decision."""


def _wrapper(plain: type, looks: tuple[str, ...]) -> Any:
    body: dict[str, Any] = {name: _noticing(plain, name) for name in looks if name in vars(plain)}
    body.setdefault("__hash__", plain.__hash__)
    return type(f"_{plain.__name__.title()}", (plain,), body)


_WRAPPERS = {
    str: _wrapper(str, _LOOKS), int: _wrapper(int, _NUMBERS), float: _wrapper(float, _NUMBERS)
}  # fmt: skip

Found = tuple[str, dict[str, Any], dict[tuple[str, ...], tuple[Any, ...]]]
"""Name, JSON of the distribution, condition."""


class _Tracer:
    def __init__(self, space: Callable[[Any], Any]) -> None:
        self.suggests = until_training(space, _Over)
        self.count = 0
        self.deciding: set[str] = set()
        self.changed: set[str] = set()

    @property
    def spent(self) -> bool:
        return self.count >= MOST_RUNS

    def run(self, taken: list[int], others: dict[str, int]) -> _Trial:
        self.count += 1
        trial = _Trial(taken, self.deciding, others)
        try:
            self.suggests(trial)
        except _Over:
            pass
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - it is the user's function
            choices = ", ".join(f"{name}={trial.plain[name]!r}" for name, _, _ in trial.decisions)
            raise SpecError(
                f"the space failed: {type(error).__name__}: {error}",
                path=next(reversed(trial.found), ""),
                found=choices and f"with {choices}",
            ) from None
        return trial

    def explore(self) -> list[_Trial]:
        """Runs with all values of what decides, until nothing new is found to decide."""
        while True:
            runs: list[_Trial] = []
            taken: list[int] | None = []
            more: set[str] = set()
            while taken is not None and not self.spent and not more:
                trial = self.run(taken, {})
                runs.append(trial)
                more = self.deciders(trial)
                taken = _following(trial.decisions)
            if self.spent or not more:
                return runs
            self.deciding |= more

    def deciders(self, trial: _Trial) -> set[str]:
        """What decides in a trial and is not known to."""
        more = {
            name
            for name in trial.noticed - self.deciding
            if name in trial.found and _finite(trial.found[name])
        }
        for name, spec in trial.found.items():
            if name in self.deciding or name in more or self.spent:
                continue
            for place in _places(name, spec):
                other = self.run([index for _, index, _ in trial.decisions], {name: place})
                if other.found != trial.found:
                    if _finite(spec):
                        more.add(name)
                    self.changed |= {
                        changed
                        for changed in other.found.keys() | trial.found.keys()
                        if other.found.get(changed) != trial.found.get(changed)
                        and not _finite(spec)
                    }
                    break
        return more


def trace(space: Callable[[Any], Any], notes: Notes) -> list[Found]:
    """Calls `space` until everything that decides what it suggests was seen.

    Args:
        space: Takes a trial.
        notes: Says what could not be explored.

    Returns:
        Name, JSON of the distribution, and condition; a name that has several distributions, each
        under its own condition, comes several times.

    Raises:
        UnsupportedError: One trial gives a name two distributions, or more than suggestions are
            asked for.
        SpecError: The function failed.
    """
    tracer = _Tracer(space)
    runs = tracer.explore()
    if tracer.spent:
        notes.lost(
            runs[-1].decisions[0][0] if runs[-1].decisions else "",
            f"called {MOST_RUNS} times and no more",
            "the function cannot be traced to a tree of that size: parameters may be missing",
            "give a dict of distributions instead",
        )
    blind = {
        name
        for run in runs
        for name in run.noticed
        if name in run.found and not _finite(run.found[name])
    }
    for name in sorted(blind):
        notes.lost(
            name,
            "the space looks at its value; only what follows from the lowest was seen",
            "a function that decides by a number cannot be traced to a finite tree",
            "make it a categorical choice, or give a dict of distributions",
        )
    if tracer.spent:
        found: list[Found] = [
            (n, spec, {}) for n, spec in {k: v for r in runs for k, v in r.found.items()}.items()
        ]
    else:
        found = [row for name in _names(runs) for row in _rows(name, runs)]
    for name in sorted(tracer.changed):
        notes.lost(
            name,
            "sampled always" if any(name == row[0] for row in found) else "missing",
            "whether the space suggests it depends on a number that it suggested before",
            "make that number a categorical choice, or give a dict of distributions",
        )
    return found


def _names(runs: list[_Trial]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.found))


def _following(decisions: list[tuple[str, int, int]]) -> list[int] | None:
    """The next combination in depth-first order; None after the last."""
    for place in range(len(decisions) - 1, -1, -1):
        _, index, count = decisions[place]
        if index + 1 < count:
            return [*(taken for _, taken, _ in decisions[:place]), index + 1]
    return None


def _rows(name: str, runs: list[_Trial]) -> list[Found]:
    specs: list[dict[str, Any]] = []
    for run in runs:
        if name in run.found and run.found[name] not in specs:
            specs.append(run.found[name])
    found: list[Found] = []
    for spec in specs:
        inside = [run for run in runs if run.found.get(name) == spec]
        found += [
            (name, spec, {tuple(key.split("/")): values for key, values in when.items()})
            for when in _conditions(inside, name, runs)
        ]
    return found


_Condition = dict[str, tuple[Any, ...]]


def _conditions(inside: list[_Trial], name: str, runs: list[_Trial]) -> list[_Condition]:
    """Conditions of which one holds in the runs `inside`, and none in the others of `runs`."""
    if not inside:
        return []
    if len(inside) == len(runs):
        return [{}]
    choices = [key for key, _, _ in inside[0].decisions if key != name]
    choices = [key for key in choices if all(key in run.plain for run in inside)]
    when = {key: _distinct(run.plain[key] for run in inside) for key in choices}
    wanted = set(map(id, inside))

    def exact(condition: _Condition) -> bool:
        return all(_matches(condition, run) == (id(run) in wanted) for run in runs)

    if exact(when):
        for key in reversed(choices):
            rest = {k: v for k, v in when.items() if k != key}
            when = rest if exact(rest) else when
        return [when]
    # Not a product of values: one condition for each value of what was decided first.
    split = next(key for key in choices if len(when[key]) > 1)
    found = []
    for value in when[split]:
        here = [run for run in runs if _is(run, split, (value,))]
        below = _conditions([run for run in here if id(run) in wanted], name, here)
        found += [{split: (value,), **rest} for rest in below]
    return found


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    found: list[Any] = []
    for value in values:
        if not any(type(value) is type(other) and value == other for other in found):
            found.append(value)
    return tuple(found)


def _is(run: _Trial, key: str, values: tuple[Any, ...]) -> bool:
    return key in run.plain and any(
        type(run.plain[key]) is type(value) and run.plain[key] == value for value in values
    )


def _matches(when: _Condition, run: _Trial) -> bool:
    return all(_is(run, key, values) for key, values in when.items())
