"""Sweeps that are made of runs go on with a searcher that has learnt from them."""

from __future__ import annotations

import random
import statistics
from pathlib import Path

import pytest

from tune_bridge.adopt.bring import bring
from tune_bridge.adopt.model import Found, FoundRun, Wishes
from tune_bridge.backends.base import Row
from tune_bridge.backends.local import LocalBackend
from tune_bridge.controller import Controller
from tune_bridge.engines import make_engine
from tune_bridge.engines.base import Adopted, Resume, Start, replay
from tune_bridge.errors import ConflictError, InputError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.notes import Notes
from tune_bridge.space import Choice, Constant, Group, Integers, Parameter, Uniform
from tune_bridge.wire import Claim, Over

BEST = 2.0
LOSS = Objective("loss")
WISHES = Wishes(now=500.0)
SPACE = Group((("x", Parameter(Uniform(-10.0, 10.0))),))
LEARNERS = {
    "bayes": ("skopt", 4),
    "HyperOptSearch": ("hyperopt", 10),
    "OptunaSearch": ("optuna", 10),
    "SkOptSearch": ("skopt", 1),
    "NevergradSearch": ("nevergrad", 1),
    "TuneBOHB": ("hpbandster", 10),
    "BayesOptSearch": ("bayes_opt", 2),
}
"""Searcher -> its package, and how many suggestions are looked at: a Gaussian process is slow."""


def loss(x: float) -> float:
    return (x - BEST) ** 2


def experiment(kind: str, **more) -> Experiment:
    return Experiment(
        space=SPACE, objective=Objective("loss"), searcher=Algorithm.of(kind), num_samples=None,
        **more,
    )  # fmt: skip


def past(number: int = 30, seed: int = 4) -> list[dict]:
    rng = random.Random(seed)
    return [{"x": rng.uniform(-10, 10)} for _ in range(number)]


def told(engine, configs):
    for index, config in enumerate(configs):
        result = {"loss": loss(config["x"]), "training_iteration": 1}
        assert engine.adopt(f"old-{index}", config, "finished", result, time=1.0) == ""
    return engine


def proposals(engine, number: int = 10) -> list[float]:
    found = []
    for index in range(number):
        answer = engine.ask(time=2.0 + index)
        assert isinstance(answer, Start)
        x = answer.config["x"]
        found.append(x)
        engine.tell(answer.run, {"loss": loss(x)}, time=2.0 + index)
        engine.end(answer.run, "finished", time=2.0 + index)
    return found


def away(xs: list[float]) -> float:
    return statistics.mean(abs(x - BEST) for x in xs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEARNERS)
def test_suggestions_of_one_who_knows_are_nearer(kind):
    """Each library in its own way; the same seeds, with and without thirty runs before."""
    package, number = LEARNERS[kind]
    pytest.importorskip(package)
    if kind != "bayes":
        pytest.importorskip("ray")
    knows, learns = [], []
    for seed in (1, 2):
        made = [make_engine(experiment(kind), sweep_id="s", seed=seed) for _ in range(2)]
        knows += proposals(told(made[0], past()), number)
        learns += proposals(made[1], number)
    assert away(knows) < 0.9 * away(learns)


def engine_of(searcher=RANDOM, space=SPACE, **more):
    more = {"num_samples": None, **more}
    asked = Experiment(space=space, objective=Objective("loss"), searcher=searcher, **more)
    return make_engine(asked, sweep_id="s", seed=3)


def test_adopted_runs_count_for_the_cap_and_come_once():
    engine = engine_of(run_cap=3)
    for _ in range(2):
        assert engine.adopt("a", {"x": 1.0}, "finished", {"loss": 1.0}, time=1.0) in (
            "", "it is known",
        )  # fmt: skip
    engine.adopt("b", {"x": 2.0}, "failed", {}, time=1.0)
    assert isinstance(engine.ask(time=2.0), Start)
    assert "all 3 runs" in engine.ask(time=2.0).reason


def test_a_grid_is_not_searched_where_it_was():
    space = Group((("x", Choice(tuple(map(Constant.of, (1, 2, 3))), grid=True)),))
    engine = engine_of(space=space, num_samples=1)
    engine.adopt("a", {"x": 1, "more": "text"}, "finished", {"loss": 1.0}, time=1.0)
    engine.adopt("b", {"x": 3}, "failed", {}, time=1.0)
    answer = engine.ask(time=2.0)
    assert answer.config == {"x": 2}
    assert "all 3 runs" in engine.ask(time=2.0).reason


def test_a_failed_one_can_be_tried_again():
    engine = engine_of()
    assert engine.adopt("a", {"x": 1.0}, "failed", {}, time=1.0) == "it gave no value"
    engine.end("a", "failed", time=2.0, retry=True)
    assert engine.ask(time=3.0) == Resume("a", {"x": 1.0}, None)


@pytest.mark.parametrize(
    ("config", "result", "why"),
    [
        ({"x": 99.0}, {"loss": 1.0}, "out of its bounds"),
        ({}, {"loss": 1.0}, "missing"),
        ({"x": 1.0}, {"loss": float("nan")}, "no value"),
        ({"x": 1.0}, {"other": 1.0}, "no value"),
    ],
)
def test_what_teaches_nothing_says_why(config, result, why):
    pytest.importorskip("skopt")
    engine = engine_of(Algorithm.of("bayes"))
    assert why in engine.adopt("a", config, "finished", result, time=1.0)
    assert isinstance(engine.ask(time=2.0), Start)


def test_a_replay_proposes_the_same():
    pytest.importorskip("skopt")
    events = [
        Adopted(f"old-{n}", config, "finished", {"loss": loss(config["x"])}, 1.0)
        for n, config in enumerate(past())
    ]
    engines = [engine_of(Algorithm.of("bayes")) for _ in range(2)]
    for engine in engines:
        replay(engine, events)
    assert proposals(engines[0], 3) == proposals(engines[1], 3)


# With a backend and a controller ------------------------------------------------------------------


def run(number: int, config: dict, state: str = "finished", **more) -> FoundRun:
    rows = [Row(0, 100.0 + number, {"loss": loss(config["x"]), "other": number})]
    return FoundRun(
        key=str(number), name=f"old-{number}", state=state, config=config,
        created_at=100.0 + number, started_at=100.0 + number, ended_at=101.0 + number,
        rows=lambda notes: iter(rows if state != "failed" else ()), **more,
    )  # fmt: skip


def found(runs, space=SPACE, searcher="bayes", objectives=(LOSS,)) -> Found:
    return Found(
        kind="test", where="here", identity="test/1", name="old", runs=list(runs), space=space,
        notes=Notes(), exact=True, objectives=list(objectives), searcher=searcher,
    )  # fmt: skip


class Place:
    """A backend with a controller that is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.backend = LocalBackend.open(str(folder / "sweeps.db"))
        self.folder = folder
        self.now = 1000.0
        self.restart()

    def restart(self, snapshots: bool = False) -> None:
        kept = self.folder / "snapshots" if snapshots else None
        self.controller = Controller(self.backend, kept, clock=lambda: self.now)

    def claim(self, sweep: str, request: str) -> Claim | Over:
        return self.controller.sweep(sweep).claim("agent", "host", request)

    def work(self, sweep: str, request: str) -> Claim:
        claim = self.claim(sweep, request)
        assert isinstance(claim, Claim), claim
        x = claim.config["x"]
        queue = self.controller.sweep(sweep)
        queue.report(claim.run, 1, 0, [Row(0, self.now, {"loss": loss(x)})])
        queue.end(claim.run, 1, "finished")
        return claim


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.backend.close()


def test_agents_go_on_where_the_runs_ended(place):
    """Finished until somebody asks; then a model proposes at once, and a restart the same."""
    pytest.importorskip("skopt")
    made = bring(found(run(n, c) for n, c in enumerate(past())), place.backend, WISHES)
    assert (made.runs, made.added, made.teaching, made.searcher) == (30, 30, 30, "bayes")
    sweep = place.backend.sweep(made.sweep)
    assert (sweep.state, sweep.ended_at) == ("finished", 130.0)
    assert place.controller.sweep(made.sweep).count == 30  # looking at it changes nothing
    assert place.backend.sweep(made.sweep).state == "finished"

    first = place.work(made.sweep, "1")
    assert place.backend.run(first.run).meta["by"] == "model"
    assert place.backend.run(first.run).name == "run-31"
    assert place.backend.sweep(made.sweep).state == "running"
    place.restart()  # killed: all it knows is in the log
    again = [place.work(made.sweep, str(n)).config["x"] for n in range(2, 5)]
    assert away([first.config["x"], *again]) < 2.0

    copy = place.backend.events(made.sweep)
    fresh = make_engine(place.controller.sweep(made.sweep).experiment, sweep_id=made.sweep,
                        seed=sweep.meta["tune_bridge_controller"]["seed"])  # fmt: skip
    for event in copy[:30]:
        fresh.adopt(
            event["run"], event["config"], event["state"], event["result"], time=event["time"]
        )
    assert fresh.ask(time=1000.0).config == first.config


def test_a_snapshot_knows_them_too(place):
    made = bring(found((run(n, c) for n, c in enumerate(past(5))), searcher="random"),
                 place.backend, WISHES)  # fmt: skip
    place.restart(snapshots=True)
    place.work(made.sweep, "1")
    place.controller.close()
    place.restart(snapshots=True)
    assert len(place.controller.sweep(made.sweep).state.runs) == 6


def test_again_adds_what_is_new_also_to_a_sweep_that_goes_on(place):
    configs = past(6)
    runs = [run(n, c, "running" if n == 5 else "finished") for n, c in enumerate(configs)]
    made = bring(found(runs[:3]), place.backend, WISHES)
    more = bring(found(runs), place.backend, WISHES)
    assert (made.added, more.added, more.rows, more.running) == (3, 3, 3, 1)
    assert place.backend.sweep(made.sweep).state == "running"
    place.work(made.sweep, "1")

    runs[5] = run(5, configs[5])
    last = bring(found(runs), place.backend, WISHES)
    assert (last.added, last.rows, last.running) == (0, 0, 0)
    assert place.backend.run(f"{made.sweep}-5").state == "finished"
    # Whoever had the log open before finds out with the next thing, and reads it again.
    with pytest.raises(ConflictError):
        place.claim(made.sweep, "2")
    assert isinstance(place.claim(made.sweep, "2"), Claim)
    known = place.controller.sweep(made.sweep).state.runs
    assert sorted(id_ for id_ in known if "-" in id_) == [f"{made.sweep}-{n}" for n in range(6)]
    assert bring(found(runs), place.backend, WISHES).rows == 0


def test_a_wider_space_is_taken_until_agents_have_used_it(place):
    """A controller that had it open, or kept a snapshot, does not go on with the narrow one."""
    narrow = Group((("x", Parameter(Uniform(0.0, 1.0))),))
    inside, outside = run(0, {"x": 0.5}), run(1, {"x": 5.0})
    made = bring(found([inside], narrow, "random"), place.backend, WISHES)
    place.restart(snapshots=True)
    assert place.controller.sweep(made.sweep).experiment.space == narrow
    place.controller.close()
    bring(found([inside, outside], SPACE, "random"), place.backend, WISHES)
    place.restart(snapshots=True)
    assert place.controller.sweep(made.sweep).experiment.space == SPACE
    place.work(made.sweep, "1")
    last = bring(found([inside, outside], narrow, "random"), place.backend, WISHES)
    assert place.controller.sweep(made.sweep).experiment.space == SPACE
    assert any("stays as it was" in note["what"] for note in last.notes)


def test_the_metric_may_be_said_later(place):
    """The runs that are there teach then, too."""
    runs = [run(n, c) for n, c in enumerate(past(8))]
    made = bring(found(runs, objectives=()), place.backend, WISHES)
    assert (made.metric, made.searcher, made.teaching) == (None, "random", 0)
    later = bring(found(runs), place.backend, WISHES)
    assert (later.searcher, later.teaching, later.added) == ("bayes", 8, 0)
    pytest.importorskip("skopt")
    assert place.backend.run(place.work(made.sweep, "1").run).meta["by"] == "model"


def test_failed_runs_can_be_tried_again_by_agents(place):
    runs = [run(0, {"x": 1.0}), run(1, {"x": 2.0}, "failed", message="no memory")]
    made = bring(found(runs, searcher="random"), place.backend, WISHES)
    queue = place.controller.sweep(made.sweep)
    assert queue.command("retry") == [f"{made.sweep}-1"]
    assert place.backend.sweep(made.sweep).state == "running"
    claim = place.claim(made.sweep, "1")
    assert (claim.run, claim.attempt, claim.config) == (f"{made.sweep}-1", 2, {"x": 2.0})
    queue.end(claim.run, 2, "finished")
    bring(found(runs, searcher="random"), place.backend, WISHES)  # what agents did stays
    assert place.backend.run(claim.run).state == "finished"


def test_the_run_cap_counts_them(place):
    made = bring(found([run(0, {"x": 1.0})], searcher="random"), place.backend, WISHES)
    place.controller.sweep(made.sweep).command("run_cap", number=2)
    place.work(made.sweep, "1")
    assert isinstance(place.claim(made.sweep, "2"), Over)


def test_a_foreign_sweep_or_run_is_left_alone(place):
    source = found([run(0, {"x": 1.0}, id="abcdefgh")])
    other = place.backend.create_sweep({"method": "random"})
    source.id = other.id
    with pytest.raises(InputError, match="came from elsewhere"):
        bring(source, place.backend, WISHES)
    source.id = None
    bring(source, place.backend, WISHES)
    source.identity = "test/2"
    with pytest.raises(InputError, match="run abcdefgh is there already"):
        bring(source, place.backend, WISHES)
    assert len(place.backend.sweeps()) == 2


def test_rows_stream_in_batches(place):
    """No more of them are alive at once than a transaction takes, however many there are."""
    alive, most = set(), 0

    class Value(int):
        def __init__(self, *_):
            nonlocal most
            alive.add(id(self))
            most = max(most, len(alive))

        def __del__(self):
            alive.discard(id(self))

    def rows(notes):
        for step in range(20_000):
            yield Row(step, 100.0, {"loss": Value(step)})

    big = run(0, {"x": 1.0})
    big.rows = rows
    made = bring(found([big]), place.backend, WISHES)
    assert made.rows == 20_000
    assert place.backend.run(f"{made.sweep}-0").rows == 20_000
    assert most < 6_000


def test_a_dry_run_writes_nothing():
    made = bring(found([run(0, {"x": 1.0})]), None, WISHES)
    assert (made.dry, made.runs, made.teaching, made.rows) == (True, 1, 1, 0)


def test_searchers_that_cannot_learn_say_so():
    space = Group((("x", Parameter(Integers(0, 20))),))
    made = bring(found([run(0, {"x": 1})], space), None, Wishes(now=500.0, searcher="ZOOptSearch"))
    assert any("does not learn" in note["what"] for note in made.notes)
    with pytest.raises(InputError, match="no such searcher"):
        bring(found([run(0, {"x": 1})], space), None, Wishes(now=500.0, searcher="Zoo"))
