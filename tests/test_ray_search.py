"""Our searchers inside of Ray Tune: the contract of its `Searcher`, then sweeps on a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray.tune")

from ray.tune.search import ConcurrencyLimiter, Searcher

from tests.ray_sweeps import FORGETS, Sweeps, X, experiment, session, space
from tune_bridge.dialects.ray_tune.runs import RUNS
from tune_bridge.dialects.ray_tune.tables import CLASSES
from tune_bridge.experiment import Experiment
from tune_bridge.ray_search import HostedSearch
from tune_bridge.reports import PAYLOAD
from tune_bridge.space import Choice, Constant, Group, Integers, Parameter, Uniform
from tune_bridge.values import Frozen

NESTED = space(
    lr=Parameter(Uniform(1e-4, 1.0, "log")),
    layers=Parameter(Integers(1, 4)),
    act=Choice((Constant.of("relu"), Constant.of(None))),
    net=space(drop=Parameter(Uniform(0.0, 0.5, q=0.1)), sizes=Constant.of([1, 2])),
)
"""What Ray's own converters of some searchers drop or refuse."""

ARGS: dict[str, dict[str, Any]] = {
    "ZOOptSearch": {"budget": 20},
}

SEARCHERS = [
    kind
    for kind in RUNS
    if kind == "bayes"
    or (CLASSES.get(kind) and CLASSES[kind].role == "searcher" and kind != "BasicVariantGenerator")
]
HEAVY = ("AxSearch", "HEBOSearch")
LIGHT = [kind for kind in SEARCHERS if kind not in HEAVY]


def hosted(kind: str, **changes: Any) -> HostedSearch:
    return HostedSearch(experiment(kind, **{"args": ARGS.get(kind, {}), **changes}), 5)


def play(search: HostedSearch, number: int, first: int = 0) -> list[dict[str, Any]]:
    """Trials one by one; every fourth one fails."""
    found = []
    for index in range(first, first + number):
        config: Any = search.suggest(f"t{index}")
        assert isinstance(config, dict)
        found.append(config)
        result = {"loss": config["x"], "training_iteration": 1, f"{PAYLOAD}/rows": []}
        if index % 4 == 3:
            search.on_trial_complete(f"t{index}", error=True)
        else:
            search.on_trial_result(f"t{index}", result)
            search.on_trial_complete(f"t{index}", result)
    return found


@pytest.mark.parametrize("kind", LIGHT)
def test_a_searcher_that_was_restored_goes_on_alike(tmp_path: Path, kind: str) -> None:
    search = hosted(kind, number=100)
    assert search.set_search_properties("loss", "min", {})
    play(search, 6)
    search.save(str(tmp_path / "state"))
    again = hosted(kind, number=100, seed=99)
    again.restore(str(tmp_path / "state"))
    assert play(again, 6, 6) == play(search, 6, 6)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_equal_seeds_search_alike() -> None:
    assert play(hosted("OptunaSearch"), 4) == play(hosted("OptunaSearch"), 4)
    other = HostedSearch(experiment("OptunaSearch", seed=None), 5)
    assert play(other, 4) != play(hosted("OptunaSearch"), 4)


def test_an_end_is_said() -> None:
    values = Choice(tuple(Constant.of(value) for value in (1, 2)))
    search = hosted("BasicVariantGenerator", args={"unique": True}, space=space(x=values))
    assert sorted(config["x"] for config in play(search, 2)) == [1, 2]
    assert search.suggest("t9") == Searcher.FINISHED


def test_later_is_said() -> None:
    search = hosted("OptunaSearch", max_concurrent=1)
    assert isinstance(search.suggest("a"), dict)
    assert search.suggest("b") is None
    search.on_trial_complete("a", {"loss": 1.0, "training_iteration": 1})
    search.on_trial_complete("a", {"loss": 1.0, "training_iteration": 1})  # heard already
    assert isinstance(search.suggest("b"), dict)


def test_budgets_and_pauses_reach_bohb() -> None:
    """`HyperBandForBOHB` writes the budget as a mapping, and speaks through Tune's wrappers."""
    search = hosted("TuneBOHB", number=50)
    limited = ConcurrencyLimiter(search, 4)
    bohb = search._proposer.live
    assert limited.suggest("a") is not None
    limited.on_trial_result(
        "a", {"loss": 0.5, "training_iteration": 2, "hyperband_info": {"budget": 2}}
    )
    assert list(bohb.bohber.configs) == [2]
    limited.on_pause("a")
    assert bohb.paused == {"a"}
    limited.on_unpause("a")
    assert (bohb.paused, bohb.running) == (set(), {"a"})


# Sweeps


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    with session(OMP_NUM_THREADS="1"):
        yield


@pytest.fixture
def sweeps(tmp_path: Path) -> Sweeps:
    return Sweeps(tmp_path)


ONE = FORGETS.replace("STEPS", "1").replace("run.config.x", "run.config['net']['drop']")


def check(sweeps: Sweeps, made: Experiment, source: str = ONE) -> list[dict[str, Any]]:
    result = sweeps.run(made, source)
    sweep, runs = sweeps.read(result)
    assert sweep.state == "finished"
    assert result.counts == {"finished": made.num_samples}, result.errors
    assert len({run.id for run in runs}) == made.num_samples
    assert result.best is not None
    return [run.config for run in runs]


def fitting(kind: str) -> Group:
    return space() if kind == "BayesOptSearch" else NESTED


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("kind", [*LIGHT, *HEAVY])
def test_a_searcher_on_ray(ray: None, sweeps: Sweeps, kind: str) -> None:
    """The first point is ours, and every value is of the space, as plain data."""
    point = {"lr": 0.01, "layers": 2, "act": None, "net": {"drop": 0.3}}
    made = experiment(
        kind,
        3 if kind in HEAVY else 4,
        args=ARGS.get(kind, {}),
        space=NESTED,
        points=(Frozen(point),),
    )
    configs = check(sweeps, made)
    near = pytest.approx
    assert [
        config
        for config in configs
        if (config["lr"], config["net"]["drop"]) == (near(0.01), near(0.3))
        and (config["layers"], config["act"]) == (2, None)
    ], configs
    for config in configs:
        assert 1e-4 <= config["lr"] <= 1
        assert config["layers"] in (1, 2, 3, 4)
        assert type(config["layers"]) is int
        assert config["act"] in ("relu", None)
        assert config["net"]["drop"] in [pytest.approx(index / 10) for index in range(6)]
        assert config["net"]["sizes"] == [1, 2]


PLAIN = FORGETS.replace("STEPS", "1")


@pytest.mark.ray
@pytest.mark.slow
def test_random_and_grid_are_rays_own(ray: None, sweeps: Sweeps) -> None:
    cells = Choice(tuple(Constant.of(value) for value in (1, 2, 3)), grid=True)
    made = experiment(None, 1, space=space(x=X, y=cells))
    result = sweeps.run(made, PLAIN)
    _, runs = sweeps.read(result)
    assert sorted(run.config["y"] for run in runs) == [1, 2, 3]
    capped = sweeps.run(made.replace(run_cap=2), PLAIN)
    assert capped.counts == {"finished": 2}


@pytest.mark.ray
@pytest.mark.slow
def test_a_repeater(ray: None, sweeps: Sweeps) -> None:
    args = {"searcher": {"HyperOptSearch": {}}, "repeat": 2, "set_index": False}
    configs = check(sweeps, experiment("Repeater", 4, args=args), PLAIN)
    assert len({config["x"] for config in configs}) == 2


@pytest.mark.ray
@pytest.mark.slow
def test_a_limiter_with_batches(ray: None, sweeps: Sweeps) -> None:
    args = {"searcher": {"OptunaSearch": {}}, "batch": True}
    made = experiment("ConcurrencyLimiter", 4, args=args, max_concurrent=2)
    assert len(check(sweeps, made, PLAIN)) == 4


@pytest.mark.ray
@pytest.mark.slow
def test_a_space_that_is_used_up_ends_the_sweep(ray: None, sweeps: Sweeps) -> None:
    values = Choice(tuple(Constant.of(value) for value in (1, 2, 3)))
    made = experiment(
        "BasicVariantGenerator", args={"unique": True}, space=space(x=values)
    ).replace(num_samples=None)
    result = sweeps.run(made, PLAIN)
    assert result.counts == {"finished": 3}
