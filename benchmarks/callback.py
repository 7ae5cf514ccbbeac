"""What reporting costs a Tune experiment: SweepCallback, W&B's callback offline, and none.

The three take turns in one Ray session. Rounds differ by a factor of two, as Ray's start of actors
does, so that there are several: the fastest counts, because other work on the machine can only add,
and the median beside it. The time inside of the hooks is measured on Tune's thread.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

TRIALS, REPORTS, ROUNDS = 16, 50, 8


def _train(config: dict[str, Any]) -> None:
    from ray import tune

    for i in range(REPORTS):
        tune.report({"loss": config["x"] / (i + 1), "accuracy": i / REPORTS, "net": {"norm": i}})


def _seconds(callbacks: list[Any], folder: str) -> float:
    from ray import tune

    begin = time.perf_counter()
    tune.run(
        _train,
        config={"x": tune.grid_search(list(range(TRIALS)))},
        callbacks=callbacks,
        reuse_actors=True,
        verbose=0,
        storage_path=folder,
    )
    return time.perf_counter() - begin


def _timed_hook(inner: Callable[..., None], spent: list[float]) -> Callable[..., None]:
    def hook(*args: Any, **info: Any) -> None:
        begin = time.perf_counter()
        inner(*args, **info)
        spent.append(time.perf_counter() - begin)

    return hook


def _timed(callback: Any, spent: list[float]) -> Any:
    """Measures every hook that a trial causes."""
    for name in ("on_trial_start", "on_trial_result", "on_trial_complete"):
        setattr(callback, name, _timed_hook(getattr(callback, name), spent))
    return callback


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
    from ray.air.integrations.wandb import WandbLoggerCallback

    from tune_bridge import SweepCallback

    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    spent: list[float] = []
    times: dict[str, list[float]] = {"none": [], "sweep": [], "wandb": []}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WANDB_DIR"] = folder
        url = f"sqlite:///{folder}/sweeps.db"
        makers: dict[str, Callable[[], list[Any]]] = {
            "none": list,
            "sweep": lambda: [_timed(SweepCallback(backend=url), spent)],
            "wandb": lambda: [WandbLoggerCallback(project="benchmark")],
        }
        try:
            for warm in ("none", "sweep"):  # the first ones load everything
                _seconds(makers[warm](), folder)
            spent.clear()
            for number in range(ROUNDS):
                for name, make in makers.items():
                    if name == "wandb" and number:
                        continue  # an order of magnitude slower: once is enough
                    times[name].append(_seconds(make(), folder))
        finally:
            ray.shutdown()
    none, sweep, wandb = (min(times[name]) for name in ("none", "sweep", "wandb"))
    medians = statistics.median(times["sweep"]) / statistics.median(times["none"])
    return [
        (f"{TRIALS} trials x {REPORTS} reports, no callback", f"{none:.2f} s"),
        (
            "SweepCallback",
            f"{sweep:.2f} s, {sweep / none:.2f} times bare; by medians {medians:.2f} times",
        ),
        ("Ray's WandbLoggerCallback, offline", f"{wandb:.2f} s, {wandb / none:.1f} times bare"),
        (
            "SweepCallback on Tune's thread, per event",
            f"{statistics.median(spent) * 1e6:.0f} us",
        ),
    ]


if __name__ == "__main__":
    for what, value in run():
        print(f"{what}: {value}")
