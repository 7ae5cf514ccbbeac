"""What reporting costs a Tune experiment: SweepCallback, W&B's callback offline, and none.

They take turns in one Ray session, in experiments of several shapes. Rounds differ by a factor of
two, as Ray's start of actors does, so that clocks on the wall tell little: the fastest round and
the middle one stand here, and beside them the processor time that the callback takes, which other
work on the machine does not change: in its hooks on Tune's thread, by events, and in its own
threads. Its share of the bare experiment is what the experiment can lose at most.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tune_bridge.backends.writer import Writer

_WRITER: Any = Writer
SHAPES = ((16, 50, 3), (200, 20, 2))
"""Trials, reports of each, rounds."""

_HOOKS = (
    "setup", "on_step_begin", "on_step_end", "on_trial_start", "on_trial_result",
    "on_trial_save", "on_checkpoint", "on_trial_complete", "on_experiment_end", "get_state",
)  # fmt: skip
_EVENTS = ("on_trial_start", "on_trial_result", "on_trial_complete")


def _train(config: dict[str, Any]) -> None:
    from ray import tune

    number = config["reports"]
    for i in range(number):
        tune.report({"loss": config["x"] / (i + 1), "accuracy": i / number, "net": {"norm": i}})


def _seconds(callbacks: list[Any], trials: int, reports: int, folder: str) -> float:
    from ray import tune

    begin = time.perf_counter()
    tune.run(
        _train,
        config={"x": tune.grid_search(list(range(trials))), "reports": reports},
        callbacks=callbacks,
        reuse_actors=True,
        verbose=0,
        storage_path=folder,
    )
    return time.perf_counter() - begin


class Spent:
    """Processor seconds of a callback: by hook, and of its writer's thread.

    Attributes:
        hooks: Of each call.
        threads: Of each writer.
    """

    def __init__(self) -> None:
        self.hooks: dict[str, list[float]] = defaultdict(list)
        self.threads: list[float] = []

    def watch(self, callback: Any) -> Any:
        """Measures a callback's hooks from now on."""
        for name in _HOOKS:
            setattr(callback, name, self._timed(getattr(callback, name), self.hooks[name]))
        return callback

    def watched(self, main: Callable[[Any], None]) -> Callable[[Any], None]:
        """The writer's main function, measured."""

        def timed(writer: Any) -> None:
            begin = time.thread_time()
            main(writer)
            self.threads.append(time.thread_time() - begin)

        return timed

    @staticmethod
    def _timed(inner: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
        def hook(*args: Any, **info: Any) -> Any:
            begin = time.thread_time()
            try:
                return inner(*args, **info)
            finally:
                spent.append(time.thread_time() - begin)

        return hook

    @property
    def all_hooks(self) -> float:
        """Seconds on Tune's thread."""
        return sum(sum(calls) for calls in self.hooks.values())

    def lines(self, rounds: int, bare: float) -> list[tuple[str, str]]:
        """What it comes to, in lines of a table."""
        events = [call for name in _EVENTS for call in self.hooks[name]]
        by_kind = ", ".join(
            f"{name.removeprefix('on_').removeprefix('trial_')} "
            f"{statistics.mean(self.hooks[name]) * 1e6:.0f}"
            for name in (*_EVENTS, "on_step_end")
        )
        hooks, threads = self.all_hooks / rounds, sum(self.threads) / rounds
        per_event = statistics.mean(events) * 1e6
        shares = f"hooks {hooks:.3f} s ({hooks / bare:.1%}), writer {threads:.3f} s"
        return [
            ("  processor time of an event on Tune's thread", f"{per_event:.0f} us"),
            ("  by kind, mean", f"{by_kind} us"),
            (
                "  of an experiment, and its share of the fastest bare one",
                f"{shares} ({threads / bare:.1%})",
            ),
        ]


def _workers() -> set[int]:
    """Process ids of all workers that Ray has had and that live."""
    import psutil

    found = set()
    for each in psutil.process_iter(["pid", "cmdline"]):
        with suppress(psutil.Error):
            if (each.info["cmdline"] or [""])[0].startswith("ray::"):
                found.add(each.info["pid"])
    return found


def run() -> list[tuple[str, str]]:
    """Measures and returns lines of a table."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
    }
    import ray

    ray.init(
        "local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False
    )
    main: Any = _WRITER._main
    lines: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WANDB_DIR"] = folder
        try:
            for number, (trials, reports, rounds) in enumerate(SHAPES):
                lines += _shape(folder, trials, reports, rounds, with_wandb=not number)
        finally:
            _WRITER._main = main
            ray.shutdown()
    return lines


def _shape(
    folder: str, trials: int, reports: int, rounds: int, *, with_wandb: bool
) -> list[tuple[str, str]]:
    from ray.air.integrations.wandb import WandbLoggerCallback

    from tune_bridge import SweepCallback

    spent = Spent()
    main: Any = _WRITER._main
    url = f"sqlite:///{folder}/sweeps.db"
    makers: dict[str, Callable[[], list[Any]]] = {
        "none": list,
        "sweep": lambda: [spent.watch(SweepCallback(backend=url))],
        "wandb": lambda: [WandbLoggerCallback(project="benchmark")],
    }
    for warm in ("none", "sweep"):  # the first ones load everything
        _seconds(makers[warm](), 2, reports, folder)
    spent.hooks.clear()
    _WRITER._main = spent.watched(main)
    times: dict[str, list[float]] = defaultdict(list)
    order, new = ["none", "sweep"], dict.fromkeys(("none", "sweep"), 0)
    for _ in range(rounds):
        for name in order:
            before = _workers()
            times[name].append(_seconds(makers[name](), trials, reports, folder))
            new[name] += len(_workers() - before)
        order.reverse()
    _WRITER._main = main
    none, sweep = (min(times[name]) for name in ("none", "sweep"))
    medians = statistics.median(times["sweep"]) / statistics.median(times["none"])
    lines = [
        (f"{trials} trials x {reports} reports, no callback", f"{none:.2f} s"),
        (
            "SweepCallback",
            f"{sweep:.2f} s, {sweep / none:.2f} times bare; by medians {medians:.2f} times",
        ),
        *spent.lines(rounds, none),
        (
            f"  new processes of Ray in {rounds} experiments",
            f"{new['sweep']}; bare {new['none']}",
        ),
    ]
    if with_wandb:  # an order of magnitude slower: once is enough
        seconds = _seconds(makers["wandb"](), trials, reports, folder)
        told = f"{seconds:.2f} s, {seconds / none:.1f} times bare"
        lines.append(("Ray's WandbLoggerCallback, offline", told))
    return lines


if __name__ == "__main__":
    for what, value in run():
        print(f"{what}: {value}")
