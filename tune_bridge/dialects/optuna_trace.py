"""Define-by-run spaces: calls a function with trials that record what it suggests.

The function is run twice, with lowest and with highest numbers, for each combination of categorical
choices that it meets, depth first. A number that it suggests notices when the function compares it,
because the other side of such a comparison stays unseen; a note names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_bridge.dialects.calls import Call, parse_signatures
from tune_bridge.dialects.python_space import short
from tune_bridge.errors import InputError, SpecError, UnsupportedError
from tune_bridge.notes import Notes

__all__ = ["MOST_RUNS", "trace"]

MOST_RUNS = 256
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


class _Trial:
    """A recording trial that takes the given options of the choices, then first ones."""

    number = 0

    def __init__(self, taken: list[int], compared: set[str], end: str = "low") -> None:
        self.taken = taken
        self.end = end
        self.compared = compared
        self.params: dict[str, Any] = {}
        self.found: dict[str, dict[str, Any]] = {}
        self.decisions: list[tuple[str, int, int]] = []

    def __getattr__(self, name: str) -> Any:
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
                raise _two(name, self.found[name], spec)
            return self.params[name]
        self.found[name] = spec
        self.params[name] = self._value(name, kind, attributes)
        return self.params[name]

    def _value(self, name: str, kind: str, attributes: dict[str, Any]) -> Any:
        if kind != "CategoricalDistribution":
            cast: Any = _Int if kind == "IntDistribution" else _Float
            value = cast(attributes[self.end])
            value.noticed = lambda: self.compared.add(name)
            return value
        choices = list(attributes["choices"])
        if not choices:
            raise SpecError("no options", path=name, found="[]", expected="a list of values")
        step = len(self.decisions)
        index = self.taken[step] if step < len(self.taken) else 0
        self.decisions.append((name, index, len(choices)))
        return choices[index]


def _two(name: str, one: Any, other: Any) -> UnsupportedError:
    return UnsupportedError(
        "suggested with two distributions",
        path=name,
        found=f"{short(one['attributes'])} and {short(other['attributes'])}",
        hint="give each of them a name of its own",
    )


def _noticing(operation: str) -> Callable[..., Any]:
    def compare(self: Any, *args: Any) -> Any:
        self.noticed()
        return getattr(self.plain(self), operation)(*args)

    return compare


_COMPARISONS = (
    "__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__", "__bool__", "__index__",
)  # fmt: skip


def _number(plain: type) -> Any:
    names = [name for name in _COMPARISONS if hasattr(plain, name)]
    body = {**{name: _noticing(name) for name in names}, "__hash__": plain.__hash__, "plain": plain}
    return type(f"_{plain.__name__.title()}", (plain,), body)


_Int, _Float = _number(int), _number(float)


def trace(space: Callable[[Any], Any], notes: Notes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Calls `space` until every combination of its choices was seen.

    Args:
        space: Takes a trial.
        notes: Says what is conditional, and what could not be explored.

    Returns:
        The JSON of each distribution by name, and extras: on which options each conditional
        parameter depends.

    Raises:
        UnsupportedError: One name has two distributions, or more than suggestions are asked for.
        SpecError: The function failed.
    """
    compared: set[str] = set()
    varying: set[str] = set()
    runs: list[_Trial] = []
    taken: list[int] | None = []
    while taken is not None and len(runs) < MOST_RUNS:
        trial = _run(space, _Trial(taken, compared))
        runs.append(trial)
        highest = _run(space, _Trial(taken, compared, "high"))
        if highest.found.keys() != trial.found.keys():
            varying |= highest.found.keys() ^ trial.found.keys()
        taken = _following(trial.decisions)
    found: dict[str, Any] = {}
    for run in runs:
        for name, spec in run.found.items():
            if found.setdefault(name, spec) != spec:
                raise _two(name, found[name], spec)
    if taken is not None:
        notes.lost(
            runs[-1].decisions[0][0],
            f"explored {MOST_RUNS} combinations of choices and no more",
            "parameters that only later ones suggest are missing",
            "give a dict of distributions instead",
        )
    for name in sorted(compared):
        notes.lost(
            name,
            "the space looks at its value; only what follows from the lowest was seen",
            "what else would be suggested for other values is unknown",
            "make it a categorical choice, or give a dict of distributions",
        )
    for name in sorted(varying):
        notes.lost(
            name,
            "sampled always" if name in found else "missing",
            "whether the space suggests it depends on a number that it suggested before",
            "make that number a categorical choice, or give a dict of distributions",
        )
    found_when = {name: _condition(name, runs) for name in found}
    conditions = {name: when for name, when in found_when.items() if when is not None}
    for name, when in conditions.items():
        text = " and ".join(f"{key} in {values!r}" for key, values in when.items())
        notes.approximated(name, "sampled always", f"the space suggests it only if {text or '?'}")
    return found, {"conditions": conditions} if conditions else {}


def _run(space: Callable[[Any], Any], trial: _Trial) -> _Trial:
    try:
        space(trial)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - it is the user's function
        choices = ", ".join(f"{name}={trial.params[name]!r}" for name, _, _ in trial.decisions)
        raise SpecError(
            f"the space failed: {type(error).__name__}: {error}",
            path=next(reversed(trial.found), ""),
            found=choices and f"with {choices}",
        ) from None
    return trial


def _following(decisions: list[tuple[str, int, int]]) -> list[int] | None:
    """The next combination in depth-first order; None after the last."""
    for place in range(len(decisions) - 1, -1, -1):
        _, index, count = decisions[place]
        if index + 1 < count:
            return [*(taken for _, taken, _ in decisions[:place]), index + 1]
    return None


def _condition(name: str, runs: list[_Trial]) -> dict[str, list[Any]] | None:
    """The options of choices with which `name` is suggested; None when it always is."""
    inside = [run for run in runs if name in run.found]
    if len(inside) == len(runs):
        return None
    outside = [run for run in runs if name not in run.found]
    when: dict[str, list[Any]] = {}
    for choice, spec in inside[0].found.items():
        if spec["name"] != "CategoricalDistribution" or choice == name:
            continue
        if not all(choice in run.params for run in inside):
            continue
        seen = [run.params[choice] for run in inside]
        if any(run.params.get(choice) not in seen for run in outside):
            options = list(spec["attributes"]["choices"])
            when[choice] = [option for option in options if option in seen]
    return when
