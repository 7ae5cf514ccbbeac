"""Real sweeps in the notations that are Python libraries: written, built and read again."""

from __future__ import annotations

import pytest

from tests.corpus import REFUSED, sweep_files
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import build
from tune_bridge.dialects.ray_tune import live_arguments
from tune_bridge.dialects.sweep import yaml_file
from tune_bridge.experiment import Experiment

TUNE = get_dialect("tune")
HYPEROPT = get_dialect("hyperopt")


@pytest.fixture(
    params=[path for path in sweep_files() if path.stem not in REFUSED], ids=lambda path: path.stem
)
def experiment(request: pytest.FixtureRequest) -> Experiment:
    document = yaml_file.load(request.param.read_text(), request.param.name)
    return get_dialect("sweep").read(document).value


def test_a_real_sweep_is_an_experiment_of_tune(experiment):
    pytest.importorskip("ray.tune")
    pytest.importorskip("hyperopt")
    written = TUNE.read(TUNE.write(experiment).value).value
    assert TUNE.read(live_arguments(experiment)).value == written
    assert written.searched.keys() == experiment.searched.keys()
    assert written.program == experiment.program
    compile(TUNE.source(experiment).value, "program", "exec")


def test_a_real_sweep_is_a_space_of_hyperopt(experiment):
    pytest.importorskip("hyperopt")
    written = HYPEROPT.write(experiment).value
    space = HYPEROPT.read(written).value
    assert HYPEROPT.read(build(written)).value == space
    assert space.searched.keys() == experiment.searched.keys()
    compile(HYPEROPT.source(experiment).value, "program", "exec")
