"""Populations of Ray Tune, seen: configurations with a history, donors, and policies to replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray.tune")

from ray import tune
from ray.tune.schedulers import PopulationBasedTraining, PopulationBasedTrainingReplay

from tests.ray_sweeps import session
from tune_bridge import SweepCallback, SweepScheduler
from tune_bridge.backends import open_backend
from tune_bridge.cli.main import main

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with session(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1"):
        yield


class Train(tune.Trainable):
    """Counts; the larger x the better."""

    def setup(self, config: dict[str, Any]) -> None:
        self.config, self.total = config, 0.0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True

    def step(self) -> dict[str, Any]:
        self.total += self.config["x"]
        return {"total": self.total}

    def save_checkpoint(self, folder: str) -> None:
        Path(folder, "total").write_text(repr(self.total))

    def load_checkpoint(self, folder: str) -> None:
        self.total = float(Path(folder, "total").read_text())


def call(arguments: list[str]) -> Any:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "SweepScheduler"])
def test_exploits_are_events_and_policies(tmp_path: Path, wrapped: bool) -> None:
    url = f"sqlite:///{tmp_path / 'sweeps.db'}"
    population: Any = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        quantile_fraction=0.5,
        resample_probability=1.0,
        hyperparam_mutations={"x": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]},
        synch=True,  # so that none runs to its end before the other begins
    )
    tune.run(
        Train,
        name="population",
        config={"x": tune.grid_search([0.1, 0.9]), "fixed": "word"},
        metric="total",
        mode="max",
        stop={"training_iteration": 6},
        scheduler=SweepScheduler(population) if wrapped else population,
        callbacks=[SweepCallback("demo", backend=url)],
        reuse_actors=True,
        verbose=0,
        resources_per_trial={"cpu": 0.5},
        storage_path=str(tmp_path / "ray"),
    )
    with open_backend(url) as backend:
        (sweep,) = backend.sweeps()
        runs = {run.meta["trial_id"]: run for run in backend.runs(sweep.id)}
        events = backend.events(sweep.id)
        rows = {run.id: backend.history(run.id) for run in runs.values()}
    written = {
        path.stem.removeprefix("pbt_policy_"): [json.loads(line) for line in path.open()]
        for path in tmp_path.glob("ray/population/**/pbt_policy_*.txt")
    }
    assert written
    for trial, policy in written.items():
        run = runs[trial]
        # The config has a history.
        lineage = run.meta["lineage"]
        assert lineage[0]["config"] == {"x": run.config["x"], "fixed": "word"} or len(lineage) > 1
        assert lineage[-1]["config"] == run.config
        assert [entry["step"] for entry in lineage] == sorted(entry["step"] for entry in lineage)
        assert {entry["donor"] for entry in lineage[1:]} <= {each.id for each in runs.values()}
        assert [row.step for row in rows[run.id]] == list(range(run.rows))
        # Exploits are events, with donor, old and new values.
        said = [did for event in events for did in event.get("did", ()) if did["run"] == run.id]
        took = [did for did in said if did["action"] == "exploit"]
        assert took
        assert took[-1]["new"] == run.config
        assert all(did["old"]["x"] != did["new"]["x"] or did["donor"] for did in took)
        assert all("goes on from run" in did["reason"] for did in took) == wrapped
        # What is exported is what Ray wrote, and Ray replays it.
        path = tmp_path / f"{trial}.txt"
        arguments = ["policy", sweep.id, run.id, "--backend", url, "-o", str(path)]
        assert call(arguments) == 0
        exported = [json.loads(line) for line in path.open()]
        assert [(line[2], line[4:]) for line in exported] == [
            (line[2], line[4:]) for line in policy
        ]
        # Ray writes the donor's step before its last report is counted, or after: as it comes.
        for line, theirs in zip(exported, policy, strict=True):
            assert line[3] == theirs[3] or (not wrapped and line[3] == theirs[3] + 1)
        assert {line[0] for line in exported} <= {each.id for each in runs.values()}
        replay = PopulationBasedTrainingReplay(str(path))
        rays = next(tmp_path.glob(f"ray/population/**/pbt_policy_{trial}.txt"))
        changes = [config for _, config in PopulationBasedTrainingReplay(str(rays))._policy]
        assert [config for _, config in replay._policy] == changes
    other = next((run.id for trial, run in runs.items() if trial not in written), "none")
    assert call(["policy", sweep.id, other, "--backend", url]) == 1
