"""The Ray Tune dialect writes live arguments and programs, with the laws that it is asked for."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from tests.corpus import spaces
from tests.dialects import trees
from tests.dialects.draws import LEAST, drawn_from, same_law
from tests.dialects.tune_names import (
    DIALECT,
    DOMAINS,
    Libraries,
    P,
    choice,
    one,
    read,
    space,
    train,
)
from tune_bridge.dialects.calls import build
from tune_bridge.dialects.ray_tune import live_arguments
from tune_bridge.errors import InputError, MissingExtraError, SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.notes import Level
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Normal,
    Uniform,
)
from tune_bridge.values import Frozen

# Writing what Tune has no word for

OWN: list[Node] = [
    P(Uniform(1, 6, q=1, integer=True)),
    P(Uniform(1, 11, q=4)),
    P(Uniform(0, 3, scale="log", exponents=True, q=0.5)),
    P(Normal(0, 1, scale="log")),
    P(Normal(5, 2, q=1, integer=True)),
    P(Beta(2, 3)),
    P(Beta(2, 3, q=0.1)),
    choice("a", "b", "c", weights=(1 / 3 + 1e-3, 1 / 3, 1 / 3 - 1e-3)),
]


@pytest.mark.parametrize("node", OWN, ids=repr)
def test_a_law_that_tune_lacks_is_a_domain_of_our_own(node):
    pytest.importorskip("ray.tune")
    written = DIALECT.write(Experiment(space=space(x=node)))
    assert [(note.level, note.path) for note in written.notes] == [(Level.EXACT, "x")]
    config = written.value.arguments["config"]
    assert read(config=config).space == space(x=node)
    live = build(config)
    assert read(config=live).space == space(x=node)
    draws = [live["x"].sample(random_state=seed) for seed in range(3)]
    assert draws == [live["x"].sample(random_state=seed) for seed in range(3)]


REWORDED: list[tuple[Node, str]] = [
    (P(Uniform(-5, 0, scale="log", exponents=True)), "tune.loguniform"),
    (P(Uniform(1e-4, 1e-1, scale="reciprocal")), "tune.loguniform"),
    (P(Uniform(1, 5, scale="reciprocal", exponents=True)), "tune.loguniform"),
    (choice("a", "b", weights=(0.25, 0.75)), "tune.choice"),
    (choice("a", "b", "c", weights=(0.5, 0.0, 0.5)), "tune.choice"),
    (choice(1, 2, 3, weights=(1 / 3, 1 / 3, 1 / 3)), "tune.choice"),
]


@pytest.mark.parametrize(("node", "name"), REWORDED, ids=repr)
def test_a_law_that_tune_says_in_other_words(node, name):
    written = DIALECT.write(Experiment(space=space(x=node)))
    assert written.notes.worst == Level.EXACT
    call = written.value.arguments["config"]["x"]
    assert call.name == name
    if isinstance(node, Choice):
        left, right = _table(node), _table(one(call))
        assert left == pytest.approx(right)
    else:
        same_law(node, one(call))


def _table(node: Node) -> dict[Any, float]:
    assert isinstance(node, Choice)
    weights = node.weights or (1 / len(node.options),) * len(node.options)
    table: dict[Any, float] = {}
    for value, weight in zip(node.values(), weights, strict=True):
        if weight:
            table[value] = table.get(value, 0.0) + weight
    return table


def test_grids_are_lists_of_values():
    grids = space(
        a=choice(1, "x", grid=True),
        b=P(Integers(2, 8, 2), grid=True),
        c=P(Uniform(0, 1, q=0.25), grid=True),
        d=P(Uniform(1, 4, q=1, integer=True), grid=True),
    )
    config = DIALECT.write(Experiment(space=grids)).value.arguments["config"]
    assert {name: call.arguments["values"] for name, call in config.items()} == {
        "a": [1, "x"],
        "b": [2, 4, 6, 8],
        "c": [0, 0.25, 0.5, 0.75],
        "d": [1, 2, 3],
    }
    for law in (Uniform(0, 1), Normal(0, 1, q=1), Uniform(1, 8, scale="log", q=1)):
        with pytest.raises(UnsupportedError, match=r"^x: a grid"):
            DIALECT.write(Experiment(space=space(x=P(law, grid=True))))


def _bayes(**changes: Any) -> Experiment:
    base = Experiment(
        space=space(lr=P(Uniform(0, 1)), c=Constant.of(3)),
        program="train.py",
        objective=Objective("loss"),
        searcher=Algorithm("bayes"),
    )
    return base.replace(**changes)


def test_bayes_is_hyperopt():
    written = DIALECT.write(_bayes())
    assert [(n.level, n.path) for n in written.notes] == [(Level.APPROXIMATED, "searcher")]
    assert written.value.arguments["search_alg"].name == "HyperOptSearch"
    assert DIALECT.read(written.value).value == _bayes(searcher=Algorithm("HyperOptSearch"))


@pytest.mark.parametrize(
    "node", [P(Integers(0, 10, 2)), P(Normal(0, 1, scale="log")), choice([1], [2])], ids=repr
)
def test_laws_that_hyperopt_search_would_bend_are_given_to_it_in_its_own_words(node):
    experiment = _bayes(space=space(x=node, c=Constant.of(3)))
    written = DIALECT.write(experiment).value
    assert written.arguments["config"] == {"c": 3}
    found = DIALECT.read(written).value
    assert found == experiment.replace(searcher=Algorithm("HyperOptSearch"), space_in="searcher")
    live = live_arguments(experiment)["search_alg"]
    assert "x" in live.suggest("1")


def test_a_scheduler_beside_a_space_in_the_searcher_knows_the_metric():
    experiment = _bayes(
        space=space(x=P(Integers(0, 10))), scheduler=Algorithm("AsyncHyperBandScheduler")
    )
    arguments = DIALECT.write(experiment).value.arguments
    assert (arguments["metric"], arguments["mode"]) == ("loss", "min")


@pytest.mark.parametrize(
    ("args", "grace", "rungs"),
    [
        ({"min_iter": 3}, 3, [3, 9, 27]),
        ({"min_iter": 2, "eta": 2}, 2, [2, 4, 8]),
        ({"max_iter": 27, "s": 2}, 3, [3, 9, 27]),
        ({"max_iter": 10, "s": 9, "eta": 2, "strict": True}, 1, [1, 2, 4]),
    ],
)
def test_hyperband_is_asha(args, grace, rungs):
    experiment = _bayes(searcher=RANDOM, scheduler=Algorithm("hyperband", Frozen(args)))
    written = DIALECT.write(experiment)
    assert {note.level for note in written.notes} == {Level.APPROXIMATED}
    assert written.value.arguments["scheduler"].arguments["grace_period"] == grace
    live = live_arguments(experiment)["scheduler"]
    assert [rung for rung, _ in live._brackets[0]._rungs][::-1][:3] == rungs


def test_a_run_cap_is_the_number_of_samples_where_there_is_no_grid():
    experiment = _bayes(num_samples=None, run_cap=7)
    assert DIALECT.write(experiment).value.arguments["num_samples"] == 7
    grid = experiment.replace(
        searcher=RANDOM, space=space(x=choice(1, 2, 3, grid=True)), num_samples=1
    )
    assert DIALECT.write(grid.replace(run_cap=3)).notes.worst == Level.EXACT
    assert DIALECT.write(grid.replace(run_cap=2)).notes.worst == Level.LOST


def test_what_tune_has_no_word_for_is_noted():
    experiment = _bayes(
        searcher=RANDOM,
        objective=Objective("loss", target=0.1, options=Frozen({"impute": "worst"})),
        command=("python", "train.py"),
        description="a sweep",
        project="p",
        entity="e",
        extras=Frozen({"sweep": {"job": 1}}),
    )
    assert [(note.path, note.level) for note in DIALECT.write(experiment).notes] == [
        (path, Level.APPROXIMATED)
        for path in (
            "objective.target",
            "objective.options",
            "extras.sweep",
            "command",
            "description",
            "project",
            "entity",
        )
    ]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"searcher": Algorithm("OtherSearch")}, "OtherSearch"),
        ({"scheduler": Algorithm("OtherScheduler")}, "OtherScheduler"),
    ],
)
def test_what_is_not_known_is_not_written(changes, word):
    with pytest.raises(UnsupportedError, match=word):
        DIALECT.write(_bayes(searcher=RANDOM).replace(**changes))


def test_code_is_refused_before_anything_is_built():
    code = _bayes(space=space(x=choice({"eval": "1/0"})))
    for function in (DIALECT.write, DIALECT.source, live_arguments):
        with pytest.raises(SpecError, match="eval"):
            function(code)


def test_live_arguments_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.tune", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"tune-bridge\[ray\]"):
        live_arguments(_bayes(searcher=RANDOM))


def test_live_arguments_import_the_trainable():
    experiment = _bayes(searcher=RANDOM, program=None, trainable=f"{train.__module__}:train")
    assert live_arguments(experiment)["run_or_experiment"] is train
    for bad in ("no.such.module:train", f"{train.__module__}:none"):
        with pytest.raises(SpecError, match="cannot be imported"):
            live_arguments(experiment.replace(trainable=bad))
    assert live_arguments(_bayes())["run_or_experiment"] == "train.py"


# Programs


def _executed(text: str, monkeypatch: pytest.MonkeyPatch, module: Any) -> Experiment:
    """What a program gives to tune.run."""
    given: list[dict[str, Any]] = []

    def run(run_or_experiment: Any, **arguments: Any) -> None:
        given.append({"run_or_experiment": run_or_experiment, **arguments})

    monkeypatch.setattr(module, "run", run)
    exec(text, {"__name__": "program"})
    return DIALECT.read(given[0]).value


PROGRAMS: dict[str, Experiment] = {
    "everything": Experiment(
        space=Group(
            (
                *((f"x{i}", node) for i, (_, _, node) in enumerate(DOMAINS)),
                *((f"y{i}", node) for i, node in enumerate(OWN)),
                ("c", space(d=Constant.of([1, 2]))),
            )
        ),
        objective=Objective("loss"),
        scheduler=Algorithm.of("AsyncHyperBandScheduler", max_t=9),
        stop=Frozen({"training_iteration": 3}),
        num_samples=4,
        seed=3,
        resources=Frozen({"cpu": 1}),
        extras=Frozen({"tune": {"checkpoint_config": {"num_to_keep": 2}, "verbose": 1}}),
    ),
    "searcher": _bayes(
        searcher=Algorithm("HyperOptSearch"),
        space=space(x=P(Normal(0, 1, scale="log")), y=P(Integers(1, 9), label="why")),
        space_in="searcher",
        max_concurrent=3,
    ),
}


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_run_and_read_again(name, trainable, monkeypatch):
    what = (None, f"{train.__module__}:train") if trainable else ("train.py", None)
    experiment = PROGRAMS[name].replace(program=what[0], trainable=what[1])
    module = Libraries(live=trainable).tune
    text = DIALECT.source(experiment).value
    assert _executed(text, monkeypatch, module) == experiment


def test_a_program_without_anything_to_run_leaves_a_place_for_it():
    text = DIALECT.source(Experiment(space=space(x=P(Uniform(0, 1))))).value
    assert "def objective(config):" in text
    assert "tune.run(objective, config=" in text
    compile(text, "program", "exec")


@pytest.mark.parametrize("what", [{"program": "a.py"}, {"trainable": "a.b:c"}, {}])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_well_formatted(name, what, tmp_path):
    program = tmp_path / "search.py"
    experiment = PROGRAMS[name].replace(program=None, trainable=None)
    program.write_text(DIALECT.source(experiment.replace(**what)).value)
    checks = ["check", "--select", "E,F,I,W,UP", "--line-length", "100"]
    for command in (checks, ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", program]
        subprocess.run(ruff, check=True, cwd=tmp_path)


def grids(*nodes: Any) -> Group:
    return space(**{f"x{index}": node for index, node in enumerate(nodes)})


def caps() -> Iterator[tuple[Group, int | None, int, bool]]:
    grid = P(Integers(1, 6), grid=True)
    options = Choice((Constant.of(1), Constant.of(2)), grid=True)
    yield grids(grid), 1, 6, True
    yield grids(grid), 1, 5, False
    yield grids(grid, options), 2, 24, True
    yield grids(grid, options), 2, 23, False
    yield grids(grid), None, 100, False


@pytest.mark.parametrize(("tree", "samples", "cap", "fits"), caps())
def test_a_cap_above_the_number_of_cells_says_nothing_more(tree, samples, cap, fits):
    experiment = Experiment(space=tree, num_samples=samples, run_cap=cap, searcher=RANDOM)
    written = DIALECT.write(experiment)
    assert bool([note for note in written.notes if note.path == "run_cap"]) is not fits
    assert written.value.arguments.get("num_samples", 1) == (-1 if samples is None else samples)


# Real spaces


@pytest.mark.parametrize("entry", spaces("tune_spaces"), ids=lambda entry: entry["id"])
def test_a_real_space_is_read_alike_written_and_read_again(entry):
    pytest.importorskip("ray.tune")
    outcomes = [_outcome(trees.Builder(root), entry["space"]) for root in ("tune_bridge", "")]
    assert outcomes[0] == outcomes[1]
    if isinstance(outcomes[0], Experiment):
        written = DIALECT.write(outcomes[0])
        assert DIALECT.read(written.value).value == outcomes[0]
        assert DIALECT.read(live_arguments(outcomes[0])).value == outcomes[0]
    else:
        assert outcomes[0][0] in ("SpecError", "UnsupportedError")


def _outcome(builder: trees.Builder, tree: Any) -> Any:
    try:
        return read(config=builder.make(tree))
    except InputError as error:
        return type(error).__name__, error.path, error.message


# Laws


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "args", "expected"), DOMAINS, ids=[f"{name}{args}" for name, args, _ in DOMAINS]
)
def test_tune_draws_from_the_law_that_is_read(name, args, expected):
    if name == "grid_search":
        pytest.skip("a grid is not drawn")
    domain = getattr(Libraries(live=True).tune, name)(*args)
    draws = domain.sample(size=100_000, random_state=12345)
    assert drawn_from([_python(x) for x in draws], one(domain)) > LEAST


@pytest.mark.slow
@pytest.mark.parametrize("node", OWN, ids=repr)
def test_our_own_domains_draw_from_their_laws(node):
    pytest.importorskip("ray.tune")
    (call,) = DIALECT.write(Experiment(space=space(x=node))).value.arguments["config"].values()
    size = 5_000 if isinstance(getattr(node, "distribution", None), Beta) else 100_000
    assert drawn_from(build(call).sample(size=size, random_state=12345), node) > LEAST


def _python(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def test_tunes_own_generator_draws_our_domains():
    pytest.importorskip("ray.tune")
    from ray.tune.search.variant_generator import generate_variants

    nodes = {f"x{index}": node for index, node in enumerate(OWN)}
    config = build(DIALECT.write(Experiment(space=space(**nodes))).value.arguments["config"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, again = (
            next(iter(generate_variants({"config": config}, random_state=_state(5))))[1]["config"]
            for _ in range(2)
        )
    assert first == again
    assert first["x7"] in ("a", "b", "c")
    assert isinstance(first["x0"], int)


def _state(seed: int) -> Any:
    from ray.tune.search.sample import _BackwardsCompatibleNumpyRng

    return _BackwardsCompatibleNumpyRng(seed)


def test_our_domains_survive_a_pickle():
    import copy
    import pickle

    pytest.importorskip("ray.tune")
    for node in OWN:
        (call,) = DIALECT.write(Experiment(space=space(x=node))).value.arguments["config"].values()
        domain = build(call)
        for other in (pickle.loads(pickle.dumps(domain)), copy.deepcopy(domain)):
            assert one(other) == node


def test_reading_recorded_objects_loads_no_library():
    program = (
        "import sys\n"
        "from tune_bridge import tune\n"
        "from tune_bridge.hyperopt import hp\n"
        "from tune_bridge.tune import domains\n"
        "from tune_bridge.dialects.base import get_dialect\n"
        "space = {'a': tune.uniform(0, 1), 'b': domains.beta(2, 3), 'c': hp.normal('c', 0, 1)}\n"
        "read = get_dialect('tune').read({'run_or_experiment': 'a.py', 'config': space}).value\n"
        "get_dialect('tune').source(read), get_dialect('hyperopt').source(read)\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert not {"ray", "hyperopt", "numpy", "pandas", "wandb"} & set(done.stdout.split())
