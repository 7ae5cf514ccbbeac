"""Lists of runs: what the database answers is what a look at each run would give."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.wandb.test_wire import SWEEP, Wire
from tune_bridge.backends.base import PutRun, Run
from tune_bridge.server.wandb.filters import matches, ordered
from tune_bridge.server.wandb.jsontext import iso

RUNS = """query Runs($first: Int, $after: String, $order: String, $filters: JSONString) {
  project(name: "p", entityName: "local") { runCount(filters: $filters)
    runs(first: $first, after: $after, order: $order, filters: $filters) {
      edges { node { name } cursor } pageInfo { endCursor hasNextPage } } } }"""
CONFIG = "program: a.py\nproject: p\nmethod: random\nparameters: {x: {min: 0.0, max: 1.0}}\n"
STATES = ("running", "finished", "failed", "killed", "crashed", "pending")


@pytest.fixture(scope="module")
def wire(tmp_path_factory):
    made = Wire(tmp_path_factory.mktemp("search"))
    with contextlib.closing(made.backend), made.http:
        sweeps = [made.sweep(CONFIG + f"name: n{n}\n") for n in range(2)]
        made.upsert("outside")
        for number in range(40):
            run = Run(
                id=f"run{number:02}",
                sweep_id=sweeps[number % 2],
                name=f"shown-{number % 5}",
                state=STATES[number % 6],
                stopped_early=number % 12 == 1,
                config={"x": number % 7, "deep": {"y": number / 2}},
                summary={} if number % 9 == 0 else {"loss": (number * 17 % 23) / 2, "t": "a"},
                created_at=1_700_000_000.0 + 5 * number,
                updated_at=1_700_005_000.0 - 7.25 * number,
                meta={"wandb.tags": ["odd"] if number % 2 else [], "wandb.group": f"g{number % 3}"},
            )
            made.backend.apply([PutRun(run)])
        made.backend.update_run("run00", summary={"loss": math.nan})
        made.sweeps = sweeps
        yield made


def listed(wire: Wire, condition: Any, order: str | None, size: int = 1000) -> list[str]:
    names, after = [], None
    while True:
        said = wire.ask(RUNS, first=size, after=after, order=order, filters=json.dumps(condition))
        assert "errors" not in said, said
        project = said["data"]["project"]
        names += [edge["node"]["name"] for edge in project["runs"]["edges"]]
        if not project["runs"]["pageInfo"]["hasNextPage"]:
            assert project["runCount"] == len(names)
            return names
        after = project["runs"]["pageInfo"]["endCursor"]


def expected(wire: Wire, condition: Any, order: str | None) -> list[str]:
    """By a look at each run."""
    everything = itertools.chain.from_iterable(
        wire.backend.runs(sweep.id) for sweep in wire.backend.sweeps(limit=1000)
    )
    runs = sorted(everything, key=lambda run: run.created_at)
    record = wire.control.wandb.runs.record
    chosen = [(run, record(run)) for run in runs if matches(condition, record(run))]
    return [run.id for run, _ in ordered(chosen, order)]


TIMES = st.integers(0, 20).map(lambda n: iso(1_700_000_000.0 + 10 * n, exact=n % 2 == 0))
TEXTS = st.sampled_from(STATES)
LEAVES = st.one_of(
    st.builds(lambda s: {"state": s}, TEXTS),
    st.builds(lambda o, s: {"state": {o: s}}, st.sampled_from(["$eq", "$ne"]), TEXTS),
    st.builds(
        lambda o, s: {"State": {o: s}},
        st.sampled_from(["$in", "$nin"]),
        st.lists(TEXTS, max_size=3),
    ),
    st.builds(lambda n: {"name": f"run{n:02}"}, st.integers(0, 45)),
    st.builds(
        lambda ns: {"name": {"$in": [f"run{n:02}" for n in ns]}}, st.lists(st.integers(0, 45))
    ),
    st.builds(
        lambda k, o, t: {k: {o: t}},
        st.sampled_from(["created_at", "createdAt", "heartbeat_at", "updatedAt"]),
        st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$ne"]),
        TIMES,
    ),
    st.builds(lambda n: {"config.x": {"$gte": n}}, st.integers(0, 7)),
    st.builds(lambda n: {"summary_metrics.loss": {"$lt": n}}, st.floats(0, 12)),
    st.builds(lambda n: {"display_name": {"$regex": f"^shown-[{n}4]$"}}, st.integers(0, 4)),
    st.sampled_from([{"tags": "odd"}, {"tags": {"$in": ["odd", "even"]}}, {"group": "g1"}, {}]),
    st.sampled_from(
        [{"sweep": 0}, {"sweep": {"$in": [0, 1]}}, {"sweep": None}, {"sweep": {"$ne": 1}}]
    ),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda g, items: {g: items},
        st.sampled_from(["$and", "$or", "$nor"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=5,
)
ORDERS = st.sampled_from(
    [
        None, "+created_at", "-created_at", "-heartbeat_at", "+updatedAt", "+summary_metrics.loss",
        "-summary_metrics.loss", "-config.x", "+config.deep.y", "-state,+created_at", "+name",
    ]
)  # fmt: skip


def filled(condition: Any, sweeps: list[str], inside: bool = False) -> Any:
    """Numbers of sweeps as their ids."""
    if isinstance(condition, list):
        return [filled(item, sweeps, inside) for item in condition]
    if isinstance(condition, dict):
        return {key: filled(it, sweeps, inside or key == "sweep") for key, it in condition.items()}
    return sweeps[condition] if inside and isinstance(condition, int) else condition


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(condition=CONDITIONS, order=ORDERS, size=st.sampled_from([7, 1000]))
def test_the_database_answers_as_a_look_at_each_run_would(wire, condition, order, size):
    condition = filled(condition, wire.sweeps)
    assert listed(wire, condition, order, size) == expected(wire, condition, order)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"name": {"$regex": "("}}, "malformed"),
        ({"name": {"$regex": r"(a)\1"}}, "malformed"),
        ({"name": {"$regex": "a" * 1001}}, "too long"),
        ({"$where": "1"}, "operator"),
        ({"state": {"$like": 1}}, "operator"),
        ([1], "mapping"),
    ],
)
def test_what_is_no_filter_is_refused(wire, condition, words):
    said = wire.ask(RUNS, filters=json.dumps(condition))
    assert said["data"]["project"] is None or said["errors"]
    assert words in said["errors"][0]["message"]


def test_a_hostile_pattern_takes_no_longer_than_others(wire):
    wire.ask(SWEEP, config=CONFIG)
    name = "a" * 100_000 + "!"
    wire.backend.apply(
        [PutRun(Run(id="hostile", sweep_id=wire.sweeps[0], name=name, created_at=1.6e9))]
    )
    try:  # backtracking would take longer than the universe is old
        assert listed(wire, {"displayName": {"$regex": "^(a+)+$"}}, None) == []
        assert listed(wire, {"displayName": {"$regex": "^(a|a)*!$"}}, None) == ["hostile"]
    finally:
        wire.backend.delete_run("hostile")
