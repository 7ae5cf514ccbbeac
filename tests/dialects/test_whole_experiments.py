"""Every searcher, scheduler, stopper and setting at once: identity, and W&B's schema."""

from __future__ import annotations

import json

import msgspec
import yaml
from hypothesis import given, settings

from tests.dialects.schema import assert_valid
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.sweep import SweepDialect, yaml_file
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level
from tune_bridge.testing.algorithms import whole_experiments
from tune_bridge.testing.translations import assert_identity, assert_translates

SWEEP, TUNE = SweepDialect(), get_dialect("tune")


@settings(max_examples=50)
@given(whole_experiments())
def test_a_sweep_says_all_of_it(experiment: Experiment) -> None:
    assert_identity("sweep", experiment)


@settings(max_examples=50)
@given(whole_experiments())
def test_the_same_through_text_and_through_the_client(experiment: Experiment) -> None:
    config = SWEEP.write(experiment).value
    text = yaml_file.dump(config)
    assert SWEEP.read(yaml_file.load(text)).value == experiment
    stored = yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=True))
    assert SWEEP.read(stored).value == experiment


@settings(max_examples=50)
@given(whole_experiments())
def test_wandbs_schema_accepts_what_is_written(experiment: Experiment) -> None:
    config = SWEEP.write(experiment).value
    for key in experiment.extras.value.get("sweep", {}):
        # Keys that the schema does not know came in from outside and are kept.
        if key != "controller":
            config.pop(key)
    assert_valid(config)


@settings(max_examples=50)
@given(whole_experiments(wandb=False))
def test_tune_says_all_of_it_or_a_note_says_what_not(experiment: Experiment) -> None:
    notes = assert_translates(experiment, "tune")
    back = TUNE.read(TUNE.write(experiment).value).value
    noted = {note.path.partition(".")[0] for note in notes if note.level > Level.EXACT}
    changed = {
        field.name
        for field in msgspec.structs.fields(experiment)
        if field.name != "space" and getattr(experiment, field.name) != getattr(back, field.name)
    }
    if any(note.path == "search_alg.space" for note in notes):
        changed.discard("space_in")  # the same laws, said to the searcher: no less exact
    assert changed <= noted
