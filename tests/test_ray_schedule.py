"""The schedulers that Ray Tune is given, where Ray's own leave trials behind."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("ray.tune")

from ray.tune.experiment import Trial

from tests.engines import agents
from tune_bridge.experiment import Algorithm
from tune_bridge.ray_schedule import live


class Controller:
    """What these schedulers ask of Tune's controller: its trials, and to end one."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.stopped: list[Trial] = []

    def get_trials(self) -> list[Trial]:
        return list(self.scheduler._trial_info)

    def stop_trial(self, trial: Trial) -> None:
        trial.set_status(Trial.TERMINATED)
        self.scheduler.on_trial_remove(self, trial)
        self.stopped.append(trial)


def test_a_trial_that_is_paused_too_late_is_ended() -> None:
    """It saves when the last one of its bracket ends, and is paused after that."""
    made = Algorithm.of("HyperBandScheduler", max_t=4, reduction_factor=2)
    scheduler = live(agents.experiment(made, 2))
    scheduler.set_search_properties("loss", "min")
    controller = Controller(scheduler)
    late, last = (Trial("train", stub=True) for _ in range(2))
    for trial in (late, last):
        scheduler.on_trial_add(controller, trial)
        trial.set_status(Trial.RUNNING)

    result = {"loss": 1.0, "training_iteration": 4, "hyperband_info": {}}
    assert scheduler.on_trial_result(controller, late, result) == "PAUSE"
    assert scheduler.on_trial_result(controller, last, result) == "STOP"
    last.set_status(Trial.TERMINATED)
    scheduler.on_trial_complete(controller, last, result)
    assert scheduler.choose_trial_to_run(controller) is None
    assert controller.stopped == []  # it still saves

    late.set_status(Trial.PAUSED)
    assert scheduler.choose_trial_to_run(controller) is None
    assert controller.stopped == [late]
