"""`wandb sweep` and `wandb.sweep` make sweeps of our engines, and change them."""

from __future__ import annotations

import json
import re

import pytest

from tune_bridge.backends.base import Sweep
from tune_bridge.controller.sweep import META
from tune_bridge.engines import make_engine
from tune_bridge.engines.base import Start
from tune_bridge.sweep_config import SweepConfig

pytestmark = pytest.mark.slow

CONFIG = """\
program: train.py
project: sweeps
name: mine
description: told
method: random
metric: {name: loss, goal: minimize}
parameters:
  x: {min: 0.0, max: 1.0}
"""


def seed_of(sweep: Sweep) -> int:
    return int(sweep.meta[META]["seed"])


def created(said: str) -> str:
    found = re.search(r"wandb agent (\S+)", said)
    assert found is not None, said
    entity, project, sweep = found[1].split("/")
    assert (entity, project) == ("local", "sweeps")
    return sweep


def test_a_sweep_on_the_command_line(place):
    env = {"WANDB_SILENT": "false"}
    file = place.write("sweep.yaml", CONFIG)
    said = place.call("wandb", "sweep", file, **env)
    sweep = created(said)
    assert f"{place.url}/local/sweeps/sweeps/{sweep}" in said
    kept = place.backend.sweep(sweep)
    assert (kept.state, kept.project, kept.entity, kept.name) == (
        "running", "sweeps", "local", "mine",
    )  # fmt: skip
    path = f"local/sweeps/{sweep}"
    # As at W&B, a sweep can be paused as soon as somebody works for it.
    assert "pause pending" in place.call("wandb", "sweep", "--pause", path, fails=True, **env)
    steered = place.controller.sweep(sweep)
    claim = steered.claim("a", "h", "r")
    steered.end(claim.run, claim.attempt, "finished")
    for option, state in (
        ("--pause", "paused"),
        ("--resume", "running"),
        ("--stop", "finished"),
    ):
        place.call("wandb", "sweep", option, path, **env)
        assert place.backend.sweep(sweep).state == state, option
    assert "already finished" in place.call("wandb", "sweep", "--cancel", path, fails=True, **env)


def test_a_sweep_is_canceled_and_updated(place):
    env = {"WANDB_SILENT": "false"}
    sweep = created(place.call("wandb", "sweep", place.write("one.yaml", CONFIG), **env))
    path = f"local/sweeps/{sweep}"
    new = place.write("two.yaml", CONFIG.replace("max: 1.0", "max: 9.0").replace("told", "new"))
    place.call("wandb", "sweep", "--update", path, new, **env)
    assert place.backend.sweep(sweep).config["parameters"]["x"]["max"] == 9.0
    claim = place.controller.sweep(sweep).claim("a", "h", "r")
    kept = place.backend.sweep(sweep)
    engine = make_engine(SweepConfig(kept.config).experiment, sweep_id=sweep, seed=seed_of(kept))
    assert claim.config == engine.ask(time=1.0).config, "searched in the new space"
    third = place.write("three.yaml", CONFIG.replace("max: 1.0", "max: 5.0"))
    said = place.call("wandb", "sweep", "--update", path, third, fails=True, **env)
    assert "cannot change" in said
    fourth = place.write("four.yaml", CONFIG.replace("max: 1.0", "max: 9.0") + "run_cap: 1\n")
    place.call("wandb", "sweep", "--update", path, fourth, **env)
    assert place.controller.sweep(sweep).claim("b", "h", "r2").reason
    place.call("wandb", "sweep", "--cancel", path, **env)
    assert place.backend.sweep(sweep).state == "canceled"


def test_a_sweep_of_a_tune_spec_is_searched_by_the_searcher_it_names(place):
    pytest.importorskip("hyperopt")
    from tune_bridge import tune
    from tune_bridge.hyperopt import hp
    from tune_bridge.tune.suggest.hyperopt import HyperOptSearch

    space = {
        "width": hp.uniform("width", 0, 20),
        "whole": hp.quniform("whole", 2, 8, 2),
        "kind": hp.choice("kind", ["relu", {"tanh": hp.loguniform("tanh", -3, 0)}]),
    }
    search = HyperOptSearch(space, metric="loss", mode="min", random_state_seed=3)
    config = dict(tune.run("train.py", search_alg=search, num_samples=3))
    place.write("config.json", json.dumps(config))
    sweep, seen = place.python(
        """
        config = json.load(open("config.json"))
        sweep = wandb.sweep(config, project="carried")
        seen = []
        def function():
            with wandb.init() as run:
                seen.append(dict(run.config))
                run.log({"loss": float(len(seen))})
        wandb.agent(sweep, function=function, count=2)
        answer([sweep, seen])
        """
    )
    kept = place.backend.sweep(sweep)
    assert kept.config["controller"] == config["controller"]
    runs = place.backend.runs(sweep)
    assert seen == [run.config for run in runs[:2]]
    engine = make_engine(SweepConfig(config).experiment, sweep_id=sweep, seed=seed_of(kept))
    for run in runs[:2]:
        drawn = engine.ask(time=1.0)
        assert isinstance(drawn, Start)
        assert run.config == drawn.config


def test_what_cannot_be_swept_is_refused_in_one_line(place):
    before = len(place.backend.sweeps(limit=1000))
    bad = place.write("bad.yaml", CONFIG.replace("max: 1.0", "max: -1.0"))
    said = place.call("wandb", "sweep", bad, fails=True, WANDB_SILENT="false")
    assert "max" in said
    assert "Traceback" not in said
    found = place.python(
        """
        config = {"method": "random", "parameters": {"x": {"values": [1]}}}
        said = []
        for more in ({"method": "clairvoyant"}, {"controller": {"type": "far"}}):
            try:
                wandb.sweep({**config, **more}, project="refused")
            except Exception as error:
                said.append(str(error))
        answer(said)
        """
    )
    for text, words in zip(found, ("clairvoyant", "controller"), strict=True):
        assert words in text
    assert len(place.backend.sweeps(limit=1000)) == before


def test_sweeps_in_the_public_api(place):
    found = place.python(
        """
        config = {"method": "grid", "metric": {"name": "loss", "goal": "maximize"}, "name": "shown",
                  "run_cap": 7, "parameters": {"x": {"values": [1, 2.0, None]}}}
        id = wandb.sweep(config, project="shown")
        for loss in (1.0, 3.0, 2.0):
            with wandb.init(settings=wandb.Settings(sweep_id=id, console="off"), project="shown",
                            config={"x": loss}) as run:
                run.log({"loss": loss})
        sweep = wandb.Api().sweep(f"local/shown/{id}")
        answer({
            "id": sweep.id, "name": sweep.name, "state": sweep.state, "config": sweep.config,
            "n": len(sweep.runs), "cap": sweep.expected_run_count, "url": sweep.url,
            "best": sweep.best_run().config, "loss": [run.summary["loss"] for run in sweep.runs],
            "sweeps": [s.id for s in wandb.Api().project("shown", "local").sweeps()],
            "runs": [run.sweep_name for run in wandb.Api().runs("local/shown")],
            "agents": len(sweep.agents()),
        })
        """
    )
    sweep = found["id"]
    assert (found["name"], found["state"], found["cap"]) == ("shown", "RUNNING", 3)
    assert found["config"]["parameters"] == {"x": {"values": [1, 2.0, None]}}
    assert (found["n"], found["best"], found["loss"]) == (3, {"x": 3}, [1, 3, 2])
    assert (found["sweeps"], found["runs"], found["agents"]) == ([sweep], [sweep] * 3, 0)
    assert found["url"] == f"{place.url}/local/shown/sweeps/{sweep}"
