"""Tune's Stoppers, and its time budget, as one rule of an experiment.

Ray's own classes decide. `TimeoutStopper` and ``time_budget_s`` are ours instead: Ray's look at the
wall clock, ours at the times that the engine is told; as in Ray, they count from the first event.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from tune_bridge.dialects.calls import Call, build
from tune_bridge.dialects.ray_tune.carried import revive
from tune_bridge.dialects.ray_tune.reader import STOPPER
from tune_bridge.engines.parts import StopRule
from tune_bridge.errors import InputError, MissingExtraError, SpecError
from tune_bridge.experiment import Experiment

__all__ = ["stop_rule"]


class _Budget:
    """Ends everything after some seconds.

    Args:
        seconds: Counted from the first call of `stop_all`.
        name: What people call it.
    """

    def __init__(self, seconds: float, name: str) -> None:
        self.seconds = seconds
        self.name = name
        self.first: float | None = None

    def stop(self, run: str, result: Mapping[str, Any], time: float) -> str:
        return ""

    def stop_all(self, time: float) -> str:
        if self.first is None:
            self.first = time
        if time - self.first < self.seconds:
            return ""
        return f"{self.name}: {self.seconds:g} seconds are over"


class _Stopper:
    """A Stopper of Ray.

    Reports without the metric that a plateau is looked for in are passed over.

    Args:
        kind: Its class name.
        live: The object.
    """

    def __init__(self, kind: str, live: Any) -> None:
        self.kind = kind
        self.live = live
        self.metric: str | None = getattr(live, "_metric", None)

    def stop(self, run: str, result: Mapping[str, Any], time: float) -> str:
        if self.metric is not None and not isinstance(result.get(self.metric), int | float):
            return ""
        try:
            stops = self.live(run, _both(result))
        except Exception as error:
            raise InputError(
                f"{self.kind} cannot go on",
                path="stop",
                found=f"{type(error).__name__}: {error}",
            ) from error
        return self._words() if stops else ""

    def stop_all(self, time: float) -> str:
        return self._words() if self.live.stop_all() else ""

    def _words(self) -> str:
        about = f" on {self.metric}" if self.metric else ""
        return f"{self.kind}{about} says so"


def _both(result: Mapping[str, Any]) -> dict[str, Any]:
    """A flat report with its nested values beside: Ray gives functions the nested form."""
    both = dict(result)
    for path, value in result.items():
        *parents, last = path.split("/")
        if parents:
            place = both
            for name in parents:
                below = place.get(name)
                place[name] = place = {} if not isinstance(below, dict) else below
            place[last] = value
    return both


class _Any:
    """Several rules, asked in order until one ends the run or everything, as Ray does."""

    def __init__(self, rules: tuple[StopRule, ...]) -> None:
        self.rules = rules

    def stop(self, run: str, result: Mapping[str, Any], time: float) -> str:
        return next((why for rule in self.rules if (why := rule.stop(run, result, time))), "")

    def stop_all(self, time: float) -> str:
        return next((why for rule in self.rules if (why := rule.stop_all(time))), "")


def stop_rule(experiment: Experiment) -> StopRule | None:
    """The Stopper and the time budget of an experiment; None when it has neither.

    A plain ``stop`` dict is not looked at: the engine knows it.

    Raises:
        SpecError: Arguments that Ray refuses, or a function that cannot be imported.
        MissingExtraError: Ray is not installed.
    """
    rules: list[StopRule] = []
    stop = experiment.stop.value or {}
    if STOPPER in stop:
        rules.append(_rule(revive(stop[STOPPER], "stop")))
    budget = ((experiment.extras.value or {}).get("tune") or {}).get("time_budget_s")
    if budget is not None:
        rules.append(_budget(budget, "time_budget_s"))
    if len(rules) == 1:
        return rules[0]
    return _Any(tuple(rules)) if rules else None


def _budget(seconds: Any, name: str) -> _Budget:
    if isinstance(seconds, dt.timedelta):
        seconds = seconds.total_seconds()
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise SpecError(name, path=name, found=repr(seconds), expected="seconds, 0 or more")
    return _Budget(float(seconds), name)


def _rule(call: Any) -> StopRule:
    if not isinstance(call, Call):
        raise SpecError("stop criteria", path="stop", found=repr(call), expected="a Stopper")
    if call.name == "CombinedStopper":
        return _Any(tuple(_rule(item) for item in call.get("stoppers", ())))
    if call.name == "TimeoutStopper":
        return _budget(build(call.get("timeout")), call.name)
    try:
        return _Stopper(call.name, build(call))
    except (ImportError, AttributeError) as error:
        if getattr(error, "name", "") in ("ray", "ray.tune", "ray.tune.stopper"):
            raise MissingExtraError("ray[tune]", "ray", "Ray Tune's Stoppers") from None
        raise SpecError(
            "a function that cannot be imported",
            path="stop",
            found=str(error),
            expected="module:qualname, importable from here",
        ) from None
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"arguments that {call.name} refuses", path="stop", found=str(error)
        ) from error
