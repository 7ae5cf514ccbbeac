"""Every searcher of Ray Tune as a proposer: what comes out of it, and what it bears."""

from __future__ import annotations

import math
import random
from typing import Any

import cloudpickle
import pytest
from scipy import stats

from tests.engines.searchers import (
    CONDITIONAL,
    FLOATS,
    GENERATOR,
    HEAVY,
    LIGHT,
    LOSS,
    MIXED,
    Runs,
    choice,
    experiment,
    group,
    noise,
    uniform,
)
from tune_bridge import laws
from tune_bridge.engines.configs import canonical, fit
from tune_bridge.engines.tune.searchers import SEARCHERS, proposer
from tune_bridge.engines.tune.searchers.codec import Abilities, FlatSpace
from tune_bridge.errors import InputError, UnsupportedError
from tune_bridge.experiment import Algorithm, Experiment
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Integers,
    Normal,
    Operation,
    Parameter,
    Sequence,
    Uniform,
)

slow = pytest.mark.slow
ALL = [
    *(pytest.param(kind, 30) for kind in (GENERATOR, *LIGHT)),
    *(pytest.param(kind, 7, marks=slow) for kind in HEAVY),
]
QUICK = [kind for kind in (GENERATOR, *LIGHT) if kind not in ("BayesOptSearch", "SkOptSearch")]


def made(kind: str, space: Group = MIXED, **more: Any) -> Experiment:
    """BayesOpt and scikit-optimize think long; the first part of their search is enough here."""
    args = more.pop("args", {})
    return experiment(kind, space, args=args, **more)


def check(configs: list[dict[str, Any]], space: Group) -> None:
    """Plain values that fit the space, typed as it types them."""
    for config in configs:
        assert canonical(fit(space, config)) == canonical(config)
        assert _kinds(config) <= {dict, list, str, int, float, bool, type(None)}


def _kinds(value: Any) -> set[type]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {type(value)}.union(*map(_kinds, items))


def test_every_searcher_of_ray_has_a_library() -> None:
    from tune_bridge.dialects.ray_tune.tables import CLASSES

    known = {name for name, table in CLASSES.items() if table.role == "searcher"}
    assert known == {*SEARCHERS, GENERATOR}
    assert {*LIGHT, *HEAVY} == set(SEARCHERS)


@pytest.mark.parametrize("space", [MIXED, CONDITIONAL], ids=["mixed", "conditional"])
@pytest.mark.parametrize("agents", [1, 8])
@pytest.mark.parametrize(("kind", "number"), ALL)
def test_configurations_fit_the_space_and_failures_are_borne(
    kind: str, number: int, agents: int, space: Group
) -> None:
    number = 13 if kind in ("BayesOptSearch", "SkOptSearch") else number
    runs = Runs(made(kind, space)).all(number, agents, faults=True)
    assert len(runs.configs) == number, runs.last
    check(runs.configs, space)
    assert len({canonical(config) for config in runs.configs}) > number / 2


@pytest.mark.parametrize(("kind", "number"), ALL)
def test_a_seed_decides(kind: str, number: int) -> None:
    number = 12 if kind in ("BayesOptSearch", "SkOptSearch") else number
    one, same = (Runs(made(kind), seed=5).all(number, 2, faults=True) for _ in range(2))
    assert one.configs == same.configs
    assert Runs(made(kind), seed=6).all(5, 2).configs[:5] != one.configs[:5]
    # The experiment's own seed comes first.
    first, second = (Runs(made(kind, seed=9), seed=seed).all(3).configs for seed in (1, 2))
    assert first == second


@pytest.mark.parametrize(("kind", "number"), ALL)
def test_a_snapshot_goes_on_the_same(kind: str, number: int) -> None:
    number = 13 if kind in ("BayesOptSearch", "SkOptSearch") else number
    number = 10 if kind == "HEBOSearch" else number
    runs = Runs(made(kind, CONDITIONAL), seed=3).all(number - 3, 2, faults=True)
    restored = cloudpickle.loads(cloudpickle.dumps(runs))
    random.seed(99)
    assert restored.all(number, 2).configs == runs.all(number, 2).configs


@pytest.mark.parametrize(("kind", "number"), ALL)
def test_nothing_but_failures(kind: str, number: int) -> None:
    number = min(number, 13 if kind == "AxSearch" else 30)
    runs = Runs(made(kind, FLOATS)).all(number, 3, loss=lambda config: math.nan)
    assert len(runs.configs) == number, runs.last


_NUMBERS = {"HEBOSearch": 16, "AxSearch": 16, "BayesOptSearch": 40, "SkOptSearch": 24}


@slow
@pytest.mark.parametrize("kind", [*LIGHT, *HEAVY])
def test_it_learns(kind: str) -> None:
    """After as many runs, its best is better than the middle one of random searches."""
    number = _NUMBERS.get(kind, 60)
    space = group(x=uniform(-5.0, 5.0), y=uniform(1e-3, 1e3, "log"))

    def loss(config: dict[str, Any]) -> float:
        return (config["x"] - 1.5) ** 2 + (math.log10(config["y"]) + 1.0) ** 2

    seeds = range(1 if kind in HEAVY else 3)
    values = [
        Runs(made(kind, space, num_samples=number), seed).all(number, loss=loss).values
        for seed in seeds
    ]
    rngs = [random.Random(seed) for seed in range(101)]
    chance = [[loss(laws.sample(space, rng)) for _ in range(number)] for rng in rngs]
    if kind == "TuneBOHB":
        # It keeps close to the first good ones: most of its runs are good, and none is perfect.
        assert max(map(_late, values)) < min(map(_late, chance))
    else:
        assert _middle([min(found) for found in values]) < _middle([min(drawn) for drawn in chance])


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _late(values: list[float]) -> float:
    return _middle(values[-20:])


def test_bohb_learns_from_hyperbands_budgets() -> None:
    """It listens to results that name a budget, and not twice to the last one."""
    runs = Runs(made("TuneBOHB", FLOATS))
    searcher = runs.proposer.live
    for index in range(8):
        runs.ask()
        result = {"loss": float(index), "training_iteration": 3}
        runs.proposer.progress(f"r{index}", {**result, "hyperband_info": {"budget": 3.0}})
        runs.proposer.progress(f"r{index}", {**result, "hyperband_info": {}})
        searcher.on_pause(f"r{index}")
        searcher.on_unpause(f"r{index}")
        runs.proposer.close(f"r{index}", result, failed=False)
    assert {budget: len(found) for budget, found in searcher.bohber.configs.items()} == {3.0: 8}
    for index in range(8, 12):
        runs.ask()
        result = {"loss": 1.0, "training_iteration": 5}
        runs.proposer.progress(f"r{index}", result)
        runs.proposer.close(f"r{index}", result, failed=False)
    assert {budget: len(found) for budget, found in searcher.bohber.configs.items()} == {
        3.0: 8,
        5.0: 4,
    }
    assert not searcher.running
    assert not searcher.trial_to_params


# Points -------------------------------------------------------------------------------------------

POINTS = (
    {"lr": 0.01, "net": {"units": 3, "act": "tanh"}, "x": 0.25},
    {"lr": 0.5, "net": {"units": 8}},
)
NESTED = (
    {
        "model": {"kind": "net", "lr": 0.5, "depth": 4, "inner": {"rate": 0.2}},
        "mixed": {"a": [1, 2]},
        "beta": 0.3,
        "pair": [0.5, 3, "b"],
    },
    {"model": {"kind": "line", "lr": 0.25}, "mixed": True},
    {"model": "none"},
)


def _contains(config: Any, point: Any) -> bool:
    if isinstance(point, dict) and isinstance(config, dict):
        return all(_contains(config[name], value) for name, value in point.items())
    if isinstance(point, float):
        return bool(config == pytest.approx(point, rel=1e-6))
    return bool(config == point)


@pytest.mark.parametrize(("space", "points"), [(MIXED, POINTS), (CONDITIONAL, NESTED)])
@pytest.mark.parametrize("kind", [*QUICK, "BayesOptSearch", "SkOptSearch", *HEAVY])
def test_points_come_first(kind: str, space: Group, points: tuple[Any, ...]) -> None:
    if kind in HEAVY:
        pytest.importorskip("torch")
    runs = Runs(made(kind, space, points=points)).all(len(points) + 3)
    for config, point in zip(runs.configs, points, strict=False):
        assert _contains(config, point), (config, point)
    check(runs.configs, space)


def test_more_points_than_the_first_phase() -> None:
    points = tuple({"x": index / 20, "y": 0.0} for index in range(20))
    for kind in ("BayesOptSearch", "ZOOptSearch"):
        runs = Runs(made(kind, FLOATS, points=points)).all(20)
        assert [config["x"] for config in runs.configs] == pytest.approx(
            [point["x"] for point in points]
        )


@pytest.mark.parametrize("kind", [GENERATOR, "HyperOptSearch", "OptunaSearch"])
def test_points_that_do_not_fit_are_refused(kind: str) -> None:
    for point, what in (({"lr": 7.0}, "lr"), ({"net": {"act": "gelu"}}, "act"), ({"a": 1}, "a")):
        with pytest.raises(InputError, match=what):
            proposer(made(kind, points=(point,)), 1)


@pytest.mark.parametrize(
    "kind", ["OptunaSearch", "SkOptSearch", pytest.param("HEBOSearch", marks=slow)]
)
def test_points_with_rewards_are_known_and_not_tried(kind: str) -> None:
    points = ({"x": 0.25, "y": 0.0}, {"x": 0.5, "y": 1.0})
    args = {"evaluated_rewards": [1.0, 2.0]}
    runs = Runs(made(kind, FLOATS, points=points, args=args)).all(3)
    assert not {0.25, 0.5} & {config["x"] for config in runs.configs}


@pytest.mark.parametrize(
    "kind", [*LIGHT, pytest.param("AxSearch", marks=slow), pytest.param("HEBOSearch", marks=slow)]
)
def test_it_learns_of_points_of_others(kind: str) -> None:
    """What others tried reaches the library, or is ignored, and the search goes on."""
    runs = Runs(made(kind, CONDITIONAL), seed=2).all(3)
    config = fit(CONDITIONAL, NESTED[0])
    with runs.sandbox:
        runs.proposer.learn("other", config, {"loss": 0.5, "training_iteration": 4})
        runs.proposer.learn("nothing", config, {"loss": math.nan})
    runs.all(8, faults=True)
    check(runs.configs, CONDITIONAL)
    seen = {
        "HyperOptSearch": lambda s: sum(
            d["result"].get("loss") == 0.5 for d in s._hpopt_trials.trials
        ),
        "OptunaSearch": lambda s: sum(t.value == 0.5 for t in s._ot_study.trials),
        "TuneBOHB": lambda s: len(s.bohber.configs[4.0]),
        "SkOptSearch": lambda s: s._optimizer.yi.count(0.5),
        "AxSearch": lambda s: sum(
            t.objective_mean == 0.5
            for t in s._ax.experiment.trials.values()
            if t.completed_successfully
        ),
        "HEBOSearch": lambda s: int((s._opt.y == 0.5).sum()),
    }.get(kind)
    if seen is not None:
        assert seen(runs.proposer.live) == 1


# Laws ---------------------------------------------------------------------------------------------

LAWS = group(
    u=uniform(-1.0, 3.0),
    q=uniform(0.0, 1.0, q=0.25),
    iq=uniform(0.0, 20.0, q=5, integer=True),
    log=uniform(1e-3, 10.0, "log"),
    exponents=uniform(-3.0, 1.0, "log", exponents=True),
    reciprocal=uniform(0.1, 10.0, "reciprocal"),
    normal=Parameter(Normal(1.0, 2.0)),
    lognormal=Parameter(Normal(0.0, 1.0, "log", q=0.5)),
    n=Parameter(Integers(-2, 3)),
    step=Parameter(Integers(0, 20, 5)),
    logn=Parameter(Integers(1, 20, log=True)),
    logstep=Parameter(Integers(8, 64, 8, log=True)),
    weighted=choice("a", "b", "c", weights=(0.6, 0.4, 0.0)),
    plain=choice(1, 2, 3),
)


@pytest.mark.parametrize("kind", ["HyperOptSearch", "OptunaSearch", "TuneBOHB", "SkOptSearch"])
def test_the_prior_is_the_law(kind: str) -> None:
    """What a library draws before it has learnt anything follows the very laws of the space."""
    many = {"HyperOptSearch": {"n_initial_points": 10_000}}.get(kind, {})
    runs = Runs(made(kind, LAWS, args=many, num_samples=None), seed=4)
    runs.proposer.close = lambda *args, **more: None  # type: ignore[method-assign]
    number = 400
    if kind == "SkOptSearch":
        runs.proposer.live._optimizer._n_initial_points = number
    if kind == "OptunaSearch":
        runs.proposer.live._ot_study.sampler._n_startup_trials = number
    for _ in range(number):
        assert runs.ask()
    check(runs.configs, LAWS)
    rng = random.Random(1)
    wanted = [laws.sample(LAWS, rng) for _ in range(4000)]
    for name, _ in LAWS.items:
        ours, theirs = ([config[name] for config in found] for found in (runs.configs, wanted))
        assert _apart(ours, theirs) > 1e-4, name


def _apart(ours: list[Any], theirs: list[Any]) -> float:
    if len(set(theirs)) > 100:
        return float(stats.ks_2samp(ours, theirs).pvalue)
    values = [value for value in sorted(set(theirs)) if theirs.count(value) >= 40]
    counts = [[found.count(value) for value in values] for found in (ours, theirs)]
    table = [
        [*row, len(found) - sum(row)] for row, found in zip(counts, (ours, theirs), strict=True)
    ]
    if not table[0][-1] and not table[1][-1]:
        table = counts
    return float(stats.chi2_contingency(table).pvalue)


@pytest.mark.parametrize(
    "can", [Abilities(), Abilities(True, True, True, True, True), Abilities(laws=True)]
)
def test_encoding_is_the_inverse_of_decoding(can: Abilities) -> None:
    space = group(laws=LAWS, rest=CONDITIONAL)
    flat = FlatSpace(space, can)
    rng = random.Random(7)
    for _ in range(200):
        config = fit(space, laws.sample(space, rng))
        again = flat.decode(flat.encode(config, 1))
        assert _contains(again, config), (again, config)
        active = flat.active(flat.encode(config, 1))
        assert _contains(flat.decode(active), config)


def test_names_of_all_kinds() -> None:
    space = Group(
        (
            ("a/b", uniform(0.0, 1.0)),
            ("a", group(b=uniform(0.0, 1.0))),
            ("1", group(**{"0": uniform(0.0, 1.0)})),
            ("x y", uniform(0.0, 1.0)),
            ("lr.base", uniform(0.0, 1.0)),
        )
    )
    for kind in QUICK:
        runs = Runs(made(kind, space)).all(4)
        check(runs.configs, space)


@pytest.mark.parametrize("kind", [GENERATOR, *LIGHT])
def test_spaces_with_nothing_to_search(kind: str) -> None:
    space = group(a=Constant.of(1), b=choice("only"), n=Parameter(Integers(3, 3)))
    runs = Runs(made(kind, space)).all(4)
    assert runs.configs == [{"a": 1, "b": "only", "n": 3}] * 4


@pytest.mark.parametrize("kind", ["HyperOptSearch", "OptunaSearch", "TuneBOHB", "NevergradSearch"])
def test_shared_draws_and_operations(kind: str) -> None:
    shared = Parameter(Uniform(0.0, 1.0), label="rate", shared=True)
    space = group(
        first=shared,
        model=choice(1, group(again=shared, twice=Operation("mul", (shared, Constant.of(2))))),
        quotient=Operation("truediv", (Constant.of(6), Parameter(Integers(0, 2)))),
        switch=Operation("switch", (Parameter(Integers(0, 1)), shared, Constant.of("none"))),
    )
    runs = Runs(made(kind, space)).all(24)
    assert {config["quotient"] for config in runs.configs} == {3.0, 6.0}
    seen = [config for config in runs.configs if config["model"] != 1]
    assert seen
    for config in seen:
        assert config["model"] == {"again": config["first"], "twice": 2 * config["first"]}
    assert {config["switch"] == config["first"] for config in runs.configs} == {True, False}


@pytest.mark.parametrize("kind", [GENERATOR, "OptunaSearch"])
def test_functions_of_the_configuration_are_for_ray(kind: str) -> None:
    space = group(x=uniform(0.0, 1.0), y=Operation("sample_from", (Constant.of("m:f"),)))
    with pytest.raises(UnsupportedError, match="only Ray calls"):
        proposer(made(kind, space), 1)


# Wrappers -----------------------------------------------------------------------------------------


def test_a_limit_makes_others_wait() -> None:
    runs = Runs(made("HyperOptSearch", max_concurrent=2))
    assert [runs.ask() for _ in range(3)] == [True, True, False]
    runs.end(noise)
    assert runs.ask()


def test_batches() -> None:
    batch = Algorithm.of("ConcurrencyLimiter", searcher={"OptunaSearch": {}}, batch=True)
    runs = Runs(made("OptunaSearch", max_concurrent=3).replace(searcher=batch))
    assert [runs.ask() for _ in range(4)] == [True, True, True, False]
    runs.end(noise)
    runs.end(noise, faults=True)
    assert not runs.ask()
    runs.end(noise)
    assert [runs.ask() for _ in range(4)] == [True, True, True, False]
    assert len(runs.proposer.live._completed_trials) == 3


@pytest.mark.parametrize("kind", ["HyperOptSearch", "BayesOptSearch", "ZOOptSearch"])
def test_repetitions(kind: str) -> None:
    repeater = Algorithm.of("Repeater", searcher={kind: {}}, repeat=3)
    runs = Runs(made(kind, FLOATS).replace(searcher=repeater))
    for _ in range(12):
        assert runs.ask()
        runs.end(noise, faults=True)
    for index in range(0, 12, 3):
        three = runs.configs[index : index + 3]
        assert [config.pop("__trial_index__") for config in three] == [0, 1, 2]
        assert three[0] == three[1] == three[2]
    assert [info["repeat"] for info in runs.infos[:3]] == [1, 2, 3]
    assert runs.configs[0] != runs.configs[3]


# The generator ------------------------------------------------------------------------------------


def test_the_generator_counts_as_ray_does() -> None:
    grid = Choice(tuple(map(Constant.of, "abc")), grid=True)
    space = group(g=grid, x=uniform(0.0, 1.0))
    points = ({"g": "b"}, {"x": 0.5})
    runs = Runs(made(GENERATOR, space, points=points, num_samples=4))
    assert runs.proposer.total == 1 + 3 + 2 * 3
    runs.all(10)
    assert [config["g"] for config in runs.configs] == [*"b", *"abc", *"abc", *"abc"]
    assert [config["x"] for config in runs.configs[1:4]] == [0.5] * 3
    endless = Runs(made(GENERATOR, space, num_samples=None))
    assert endless.proposer.total is None


def test_the_generator_keeps_random_values_over_a_grid() -> None:
    grid = Choice(tuple(map(Constant.of, "abc")), grid=True)
    space = group(g=grid, x=uniform(0.0, 1.0))
    runs = Runs(made(GENERATOR, space, args={"constant_grid_search": True})).all(6)
    values = [config["x"] for config in runs.configs]
    assert values[0] == values[1] == values[2] != values[3]


def test_the_generator_waits_where_it_is_limited() -> None:
    runs = Runs(made(GENERATOR, max_concurrent=2))
    assert [runs.ask() for _ in range(3)] == [True, True, False]
    restored = cloudpickle.loads(cloudpickle.dumps(runs))
    assert not restored.ask()
    restored.end(noise)
    assert restored.ask()


def test_the_generator_resumes_inside_of_a_large_grid() -> None:
    grid = Choice(tuple(map(Constant.of, range(1000))), grid=True)
    space = group(a=grid, b=grid, c=grid, d=grid, x=uniform(0.0, 1.0))
    runs = Runs(made(GENERATOR, space)).all(50)
    restored = cloudpickle.loads(cloudpickle.dumps(runs))
    assert restored.all(60).configs == runs.all(60).configs


@pytest.mark.parametrize("kind", ["eval", "grid_search"])
def test_nothing_is_executed(kind: str) -> None:
    with pytest.raises(InputError, match=kind):
        proposer(made(GENERATOR, group(a=Constant.of({kind: "1/0"}), x=uniform(0.0, 1.0))), 1)
    nested = choice(group(x=uniform(0.0, 1.0)), {"y": {kind: "1/0"}})
    with pytest.raises(InputError, match=kind):
        proposer(made(GENERATOR, group(a=nested)), 1)


# What is refused, and ends ------------------------------------------------------------------------


def test_searchers_need_a_metric() -> None:
    for kind in SEARCHERS:
        with pytest.raises(UnsupportedError, match="without a metric"):
            proposer(Experiment(MIXED, searcher=Algorithm.of(kind)), 1)


def test_others_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="no searcher of Ray Tune"):
        proposer(Experiment(MIXED, objective=LOSS, searcher=Algorithm.of("bayes")), 1)
    wrapped = Algorithm.of("Repeater", searcher={GENERATOR: {}})
    with pytest.raises(UnsupportedError, match="is none"):
        proposer(Experiment(MIXED, objective=LOSS, searcher=wrapped), 1)


def test_bayesopt_says_that_it_has_converged() -> None:
    """A flat objective: it proposes one point again and again."""
    space = group(x=uniform(0.0, 1e-9))
    args = {"random_search_steps": 3}
    runs = Runs(made("BayesOptSearch", space, args=args)).all(40, loss=lambda config: 1.0)
    assert "converged" in runs.last or len(runs.configs) == 40


@slow
def test_ax_ends_when_everything_was_proposed() -> None:
    pytest.importorskip("torch")
    space = group(a=choice("u", "v"), b=choice(1, 2), n=Parameter(Integers(1, 2)))
    runs = Runs(made("AxSearch", space)).all(12)
    assert len({canonical(config) for config in runs.configs}) == len(runs.configs) == 8
    assert "every configuration" in runs.last


def test_sequences_are_lists() -> None:
    space = group(pair=Sequence((uniform(0.0, 1.0), choice((1, 2), [3])), "tuple"))
    for kind in QUICK:
        assert all(type(c["pair"]) is list for c in Runs(made(kind, space)).all(3).configs)
