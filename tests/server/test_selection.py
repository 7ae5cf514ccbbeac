"""Which runs are meant, and in which order: against a naive evaluation."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("dash")

import itertools

from tune_bridge.backends.base import Run, Sweep
from tune_bridge.errors import InputError
from tune_bridge.server.selection import Selection
from tune_bridge.server.views import KINDS, Plan, Snapshot, kind_of

NUMBERS = st.sampled_from([0, 1, 2.5, -3, 1.0, math.nan, math.inf])
CELLS = st.one_of(st.none(), NUMBERS, st.sampled_from(["a", "B", "ab", "", "true"]), st.booleans())
STATES = st.sampled_from(["running", "finished", "failed", "pending"])
RUNS = st.lists(st.tuples(STATES, st.booleans(), CELLS, st.one_of(st.none(), NUMBERS)), max_size=12)
FIELDS = ("c:x", "s:loss")


def snapshot_of(rows) -> Snapshot:
    runs = [
        Run(id=f"r{place}", sweep_id="s", name=f"run {place}", state=state, stopped_early=early)
        for place, (state, early, _, _) in enumerate(rows)
    ]
    return Snapshot(
        sweep=Sweep(id="s"),
        version="1",
        plan=Plan(objective="loss"),
        runs=runs,
        configs=[{} if x is None else {"x": x} for _, _, x, _ in rows],
        summaries=[{} if loss is None else {"loss": loss} for *_, loss in rows],
        read_at=0.0,
    )


def cell(snapshot: Snapshot, field: str, index: int):
    maps = snapshot.configs if field == "c:x" else snapshot.summaries
    return maps[index].get(field[2:])


def is_nan(value) -> bool:
    return isinstance(value, float) and math.isnan(value)


@given(RUNS, st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from(["asc", "desc"]))))
def test_order(rows, wanted) -> None:
    snapshot = snapshot_of(rows)
    sort = tuple(dict(wanted).items())
    found = Selection(sort=sort).ordered(snapshot)
    assert sorted(found) == list(range(len(rows)))

    def before(one: int, two: int) -> bool:
        """Whether one may stand before two."""
        for field, way in sort:
            values = cell(snapshot, field, one), cell(snapshot, field, two)
            ranks = [2 if v is None else 1 if is_nan(v) else 0 for v in values]
            if ranks[0] != ranks[1]:
                return ranks[0] < ranks[1]
            if ranks[0] == 0:
                shown = [
                    (0, v)
                    if isinstance(v, int | float) and not isinstance(v, bool)
                    else (1, v.lower() if isinstance(v, str) else str(v).lower())
                    for v in values
                ]
                if shown[0] != shown[1]:
                    return (shown[0] < shown[1]) is (way == "asc")
        return one < two

    assert all(before(one, two) for one, two in itertools.pairwise(found))


TEXTS = {
    "contains": lambda value, wanted: value is not None and wanted in value,
    "notContains": lambda value, wanted: value is None or wanted not in value,
    "equals": lambda value, wanted: value == wanted,
    "notEqual": lambda value, wanted: value != wanted,
    "startsWith": lambda value, wanted: value is not None and value.startswith(wanted),
    "endsWith": lambda value, wanted: value is not None and value.endswith(wanted),
}


@given(RUNS, st.sampled_from(sorted(TEXTS)), st.sampled_from(["a", "B", "TRUE", "1", "2.5"]))
def test_conditions_on_texts(rows, way, wanted) -> None:
    snapshot = snapshot_of(rows)
    model = {"filterType": "text", "type": way, "filter": wanted}
    found = Selection(filters={"c:x": model}).chosen(snapshot)

    def shown(value):
        spelled = {None: None, True: "true", False: "false"}
        if isinstance(value, bool) or value is None:
            return spelled[value]
        if isinstance(value, str):
            return value.lower()
        return "nan" if is_nan(value) else "infinity" if value == math.inf else f"{value:g}"

    test = TEXTS[way]
    assert found == [
        index
        for index in range(len(rows))
        if test(shown(cell(snapshot, "c:x", index)), wanted.lower())
    ]


COMPARISONS = {
    "equals": lambda value, low, high: value == low,
    "notEqual": lambda value, low, high: value != low,
    "greaterThan": lambda value, low, high: value > low,
    "greaterThanOrEqual": lambda value, low, high: value >= low,
    "lessThan": lambda value, low, high: value < low,
    "lessThanOrEqual": lambda value, low, high: value <= low,
    "inRange": lambda value, low, high: low < value < high,
    "blank": None,
    "notBlank": None,
}
ENDS = st.sampled_from([-3, 0, 1, 2.5])


def holds(value, condition) -> bool:
    way = condition["type"]
    if way in ("blank", "notBlank"):
        return (value is None) is (way == "blank")
    return value is not None and COMPARISONS[way](value, condition["filter"], condition["filterTo"])


@given(
    RUNS,
    st.lists(st.tuples(st.sampled_from(sorted(COMPARISONS)), ENDS, ENDS), min_size=1, max_size=3),
    st.sampled_from(["AND", "OR"]),
)
def test_conditions_on_numbers(rows, wanted, operator) -> None:
    snapshot = snapshot_of(rows)
    conditions = [{"type": way, "filter": low, "filterTo": high} for way, low, high in wanted]
    model = {"filterType": "number", "operator": operator, "conditions": conditions}
    join = all if operator == "AND" else any
    assert Selection(filters={"s:loss": model}).chosen(snapshot) == [
        index
        for index in range(len(rows))
        if join(holds(cell(snapshot, "s:loss", index), one) for one in conditions)
    ]
    if len(conditions) == 1:
        alone = Selection(filters={"s:loss": {"filterType": "number", **conditions[0]}})
        assert alone.chosen(snapshot) == Selection(filters={"s:loss": model}).chosen(snapshot)


@given(RUNS, st.lists(st.one_of(CELLS.filter(lambda v: not is_nan(v)), st.tuples(ENDS, ENDS))))
def test_picks(rows, picked) -> None:
    snapshot = snapshot_of(rows)
    items = [list(item) if isinstance(item, tuple) else item for item in picked]

    def fits(value) -> bool:
        for item in picked:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if isinstance(item, tuple):
                if number and item[0] <= value <= item[1]:
                    return True
            elif value == item and isinstance(value, bool) == isinstance(item, bool):
                return True
        return False

    found = Selection(picks={"c:x": items} if items else {}).chosen(snapshot)
    assert found == [
        index for index in range(len(rows)) if not items or fits(cell(snapshot, "c:x", index))
    ]


@given(RUNS, st.sets(st.sampled_from(sorted(KINDS))), st.none() | st.integers(1, 4))
def test_states_then_the_best_then_picks(rows, show, top) -> None:
    snapshot = snapshot_of(rows)
    picks = {"s:loss": [[0, 2]]}
    chosen = Selection(show=tuple(sorted(show)), top=top, picks=picks)
    allowed = [i for i, run in enumerate(snapshot.runs) if not show or kind_of(run) in show]
    ranked = sorted(
        (cell(snapshot, "s:loss", i), i)
        for i in allowed
        if snapshot.runs[i].state != "failed"
        and cell(snapshot, "s:loss", i) is not None
        and math.isfinite(cell(snapshot, "s:loss", i))
    )
    base = allowed if top is None else sorted(i for _, i in ranked[:top])
    assert chosen.base(snapshot) == base
    assert chosen.chosen(snapshot) == [
        i
        for i in base
        if cell(snapshot, "s:loss", i) is not None and 0 <= cell(snapshot, "s:loss", i) <= 2
    ]


MODELS = st.one_of(
    st.builds(
        lambda way, wanted: {"filterType": "text", "type": way, "filter": wanted},
        st.sampled_from(sorted(TEXTS)),
        st.text(),
    ),
    st.just({"filterType": "number", "type": "blank"}),
)


@given(
    st.builds(
        Selection,
        show=st.lists(st.sampled_from(sorted(KINDS)), unique=True).map(tuple),
        words=st.text("ab "),
        filters=st.dictionaries(st.sampled_from(FIELDS), MODELS),
        top=st.none() | st.integers(1, 10**6),
        picks=st.dictionaries(
            st.sampled_from(FIELDS),
            st.lists(st.none() | st.text() | st.tuples(ENDS, ENDS).map(list), min_size=1),
        ),
        sort=st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(["asc", "desc"])).map(
            lambda made: tuple(made.items())
        ),
    )
)
def test_a_query_says_it_all(selection) -> None:
    again = Selection.of(selection.query(), strict=True)
    words = " ".join(selection.words.split())
    assert again.query() == Selection.of({**selection.query(), "q": words}).query()
    assert (again.sort, again.picks, again.filters) == (
        selection.sort,
        selection.picks,
        selection.filters,
    )


@given(
    st.dictionaries(
        st.sampled_from(["show", "state", "q", "filter", "top", "pick", "sort"]),
        st.text()
        | st.recursive(
            st.none() | st.integers() | st.text() | st.sampled_from(FIELDS),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS), inner),
        ).map(json.dumps),
    )
)
def test_a_page_leaves_out_what_makes_no_sense(query) -> None:
    selection = Selection.of(query)
    selection.ordered(snapshot_of([("finished", False, 1, 2.0), ("failed", False, "a", None)]))
    assert Selection.of(selection.query(), strict=True) == selection


@pytest.mark.parametrize(
    "query",
    [
        {"show": "running,happy"},
        {"state": "stopped_early"},
        {"top": "0"},
        {"top": "many"},
        {"sort": '[["c:x","up"]]'},
        {"sort": "{"},
        {"sort": '[["nothing","asc"]]'},
        {"filter": "[1]"},
        {"filter": '{"c:x":{"filterType":"text","type":"matches","filter":"a"}}'},
        {"filter": '{"c:x":{"filterType":"number","type":"equals","filter":NaN}}'},
        {"filter": '{"c:x":{"filterType":"number","operator":"AND","conditions":[]}}'},
        {"pick": '{"c:x":[]}'},
        {"pick": '{"c:x":[[1]]}'},
        {"pick": '{"x":[1]}'},
    ],
)
def test_programs_are_told(query) -> None:
    with pytest.raises(InputError) as caught:
        Selection.of(query, strict=True)
    assert caught.value.path == next(iter(query))
    assert caught.value.expected


def test_words() -> None:
    snapshot = snapshot_of([("failed", False, "Adam", None), ("finished", True, "sgd", None)])
    assert Selection(words="ADAM fail").chosen(snapshot) == [0]
    assert Selection(words="early run").chosen(snapshot) == [1]
    assert Selection(words="nobody").chosen(snapshot) == []
