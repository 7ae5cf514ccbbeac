"""Sweeps to look at: an ASHA-like mix of runs, made through the backend's contract alone."""

from __future__ import annotations

import math
import random
import time

from tune_bridge.backends.base import (
    Backend,
    LogRows,
    Operation,
    PatchRun,
    PutRun,
    PutSweep,
    Row,
    Run,
    Sweep,
)

CONFIG = {
    "program": "train.py",
    "method": "bayes",
    "metric": {"name": "val_loss", "goal": "minimize"},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
        "weight_decay": {"distribution": "log_uniform_values", "min": 1e-7, "max": 1e-2},
        "dropout": {"distribution": "uniform", "min": 0.0, "max": 0.6},
        "layers": {"distribution": "int_uniform", "min": 2, "max": 8},
        "batch_size": {"values": [16, 32, 64, 128]},
        "optimizer": {"values": ["adam", "adamw", "sgd"]},
        "epochs": {"value": 27},
    },
    "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 3},
    "run_cap": 1000,
}
RUNGS = (1, 3, 9, 27)
START = 1_760_000_000.0


def make_sweep(backend: Backend, runs: int, *, sweep_id: str = "abcd1234", **fields) -> str:
    """A sweep with `runs` runs; about 7 in 10 are stopped early, some fail, the last few run."""
    now = fields.pop("now", None) or time.time()
    defaults = {"project": "vision", "name": "resnet baseline", "config": CONFIG}
    sweep = Sweep(id=sweep_id, created_at=now - 3 * 3600, updated_at=now, **{**defaults, **fields})
    backend.apply([PutSweep(sweep)])
    rng = random.Random(7)
    operations: list[Operation] = []
    for number in range(runs):
        operations += run_operations(sweep_id, number, runs, rng, now)
        if len(operations) > 2000:
            backend.apply(operations)
            operations = []
    backend.apply(operations)
    return sweep_id


def draw(rng: random.Random) -> dict:
    return {
        "lr": 10 ** rng.uniform(-5, -1),
        "weight_decay": 10 ** rng.uniform(-7, -2),
        "dropout": rng.uniform(0, 0.6),
        "layers": rng.randint(2, 8),
        "batch_size": rng.choice([16, 32, 64, 128]),
        "optimizer": rng.choice(["adam", "adamw", "sgd"]),
        "epochs": 27,
    }


def loss_at(config: dict, epoch: int, rng: random.Random) -> float:
    quality = 0.12 * (math.log10(config["lr"]) + 2.6) ** 2 + 0.4 * abs(config["dropout"] - 0.2)
    quality += {"adam": 0.05, "adamw": 0.0, "sgd": 0.2}[config["optimizer"]]
    quality += 0.02 * abs(config["layers"] - 5)
    return (0.18 + quality) + 2.0 * math.exp(-epoch / (4 + 6 * quality)) + rng.gauss(0, 0.012)


def run_operations(
    sweep_id: str, number: int, total: int, rng: random.Random, now: float
) -> list[Operation]:
    config = draw(rng)
    run_id = f"{sweep_id[:4]}{number:04d}"
    start = now - 3 * 3600 + 2.8 * 3600 * number / max(total, 1)
    run = Run(
        id=run_id,
        sweep_id=sweep_id,
        name=f"run-{number + 1}",
        state="running",
        config=config,
        created_at=start,
        started_at=start,
        updated_at=start,
        meta={"host": "gpu-1", "trial_id": f"{number:05d}"},
    )
    luck = rng.random()
    running = total > 3 and number >= total - max(2, total // 50)
    last, state, message, stopped = RUNGS[-1], "finished", "", False
    first = loss_at(config, 3, rng)
    if running:
        last, state = rng.choice([2, 5, 8]), "running"
    elif luck < 0.05 and total > 3:
        last, state = rng.choice([1, 2]), "failed"
        message = (
            "exit code 1\nTraceback (most recent call last):\n"
            '  File "train.py", line 61, in <module>\n    loss.backward()\n'
            "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB"
        )
    elif luck < 0.06 and total > 3:
        last, state, message = 2, "crashed", "no sign of life for 120 s"
    elif total > 3 and (first > 1.55 or luck < 0.45):
        last = 1 if first > 1.9 else 3 if first > 1.6 or luck < 0.2 else 9
        stopped, message = True, f"stopped by ASHA at rung {last}: not in the best third"
    rows = [
        Row(
            epoch - 1,
            start + 20 * epoch,
            {
                "val_loss": loss_at(config, epoch, rng),
                "accuracy": min(0.97, 1.1 - 0.45 * loss_at(config, epoch, rng)),
                "epoch": epoch,
            },
        )
        for epoch in range(1, last + 1)
    ]
    operations: list[Operation] = [PutRun(run), LogRows(run_id, rows)]
    if state != "running":
        changes = {"state": state, "stopped_early": stopped, "message": message}
        if state == "failed":
            changes["exit_code"] = 1
        operations.append(PatchRun(run_id, changes, start + 20 * last + 3))
    return operations
