"""The analysis of a sweep: importance, drawings, their page and its twin."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest

pytest.importorskip("dash")
pytest.importorskip("sklearn")

from tests.server.seed import CONFIG, make_sweep
from tune_bridge.backends.base import LogRows, PatchRun, PutRun, PutSweep, Row, Run, Sweep
from tune_bridge.experiment import usual_goal
from tune_bridge.server.analysis import course, figures, several
from tune_bridge.server.analysis.analyst import Analyst, at_once
from tune_bridge.server.analysis.cards import CHOICES, FIGURES, View, draw
from tune_bridge.server.analysis.importance import FEW, measure, measures
from tune_bridge.server.analysis.page import advice
from tune_bridge.server.analysis.results import Results, Together, in_order, objectives
from tune_bridge.server.values import json_bytes
from tune_bridge.server.views import Reader
from tune_bridge.sweep_config import SweepConfig

RUNS = 240


def _case(runs: int = RUNS) -> tuple[dict, list[float]]:
    """A metric that one number decides, another one less so, an option, and one below an option."""
    rng = random.Random(3)
    kinds = [rng.choice(["a", "b", "c"]) for _ in range(runs)]
    columns = {
        "strong": [10 ** rng.uniform(-5, 0) for _ in range(runs)],
        "weak": [rng.random() for _ in range(runs)],
        "none": [rng.randint(1, 9) for _ in range(runs)],
        "kind": kinds,
        "kind.depth": [rng.random() if kind == "a" else None for kind in kinds],
        "fixed": [7] * runs,
    }
    target = [
        2 * math.log10(strong) + 1.5 * weak + 2.0 * (kind == "b") + 3.0 * (depth or 0.0)
        for strong, weak, kind, depth in zip(
            *(columns[name] for name in ("strong", "weak", "kind", "kind.depth")), strict=True
        )
    ]
    return columns, target


@pytest.mark.parametrize("kind", measures())
def test_what_decides_is_first(kind: str) -> None:
    columns, target = _case()
    found = {one.path: one for one in measure(columns, target, kind, frozenset({"strong"}))}
    assert next(iter(found)) == "strong"
    assert abs(found["strong"].value) > 3 * abs(found["none"].value)
    assert found["fixed"].value is None
    assert found["kind.depth"].runs == columns["kind"].count("a")
    assert found["strong"].low <= found["strong"].value <= found["strong"].high
    assert found["weak"].runs == RUNS


def test_all_measures_are_tried() -> None:
    assert measures() == ["forest", "ped_anova", "correlation"]


def test_signs_and_shares() -> None:
    columns, target = _case()
    rho = {one.path: one for one in measure(columns, target, "correlation")}
    assert rho["strong"].signed
    assert rho["strong"].value > 0.5
    assert not rho["kind"].signed
    assert 0 <= rho["kind"].value <= 1
    down = {one.path: one.value for one in measure(columns, [-v for v in target], "correlation")}
    assert down["strong"] == pytest.approx(-rho["strong"].value)
    forest = measure({name: columns[name] for name in ("strong", "weak")}, target, "forest")
    assert sum(one.value for one in forest) == pytest.approx(1.0)


def test_one_diverged_run_changes_little() -> None:
    columns, target = _case()
    before = {one.path: one.value for one in measure(columns, target, "correlation")}
    target[0] = 1e30
    after = {one.path: one.value for one in measure(columns, target, "correlation")}
    assert after["strong"] == pytest.approx(before["strong"], abs=0.05)


@pytest.mark.parametrize("kind", measures())
def test_too_few_runs_say_nothing(kind: str) -> None:
    columns, target = _case(FEW - 1)
    assert all(one.value is None for one in measure(columns, target, kind))
    assert measure({}, [], kind) == []


@pytest.mark.parametrize(
    ("name", "goal"),
    [("val_loss", "minimize"), ("Accuracy", "maximize"), ("test/f1", "maximize"),
     ("x", None), ("loss_score", None)],
)  # fmt: skip
def test_usual_goals(name: str, goal: str | None) -> None:
    assert usual_goal(name) == goal


@pytest.fixture
def snapshot(backend):
    make_sweep(backend, 120)
    return Reader(backend).snapshot("abcd1234")


def test_results_leave_failed_runs_out(snapshot) -> None:
    results = Results.of(snapshot, "val_loss")
    states = {snapshot.runs[index].state for index in results.indices}
    assert "failed" not in states
    assert Results.of(snapshot, "accuracy").goal == "maximize"
    assert [one.path for one in snapshot.varied] == list(CONFIG["parameters"])[:-1]


def test_progress_only_gets_better(snapshot) -> None:
    results = Results.of(snapshot, "accuracy")
    line = in_order(results)
    assert sorted(index for index, _, _ in line) == results.indices
    assert [best for _, _, best in line] == list(
        itertools.accumulate((value for _, value, _ in line), max)
    )
    ends = [snapshot.runs[index].ended_at or math.inf for index, _, _ in line]
    assert ends == sorted(ends)
    runs, best = figures.progress(results, log=False, scheme="light")["data"]
    assert len(runs["x"]) == len(results.indices)
    assert best["y"] == sorted(set(best["y"])) or best["y"][-1] == best["y"][-2]
    assert best["y"][-1] == pytest.approx(max(results.values), rel=1e-4)


def test_the_front_is_that_of_optuna(snapshot) -> None:
    optuna = pytest.importorskip("optuna")
    both = Together.of(snapshot, ["val_loss", "accuracy"])
    study = optuna.create_study(directions=["minimize", "maximize"])
    for place, values in enumerate(both.values):
        study.add_trial(
            optuna.trial.create_trial(
                values=values, params={}, distributions={}, user_attrs={"at": place}
            )
        )
    assert set(both.front()) == {trial.user_attrs["at"] for trial in study.best_trials}
    data = several.pareto(both, "light")["data"]
    assert data[1]["x"] == pytest.approx(
        [both.values[place][0] for place in both.front()], rel=1e-4
    )
    assert data[1]["x"] == sorted(data[1]["x"])


def test_shares_of_a_distribution(snapshot) -> None:
    data = figures.distribution(Results.of(snapshot, "val_loss"), log=False, scheme="dark")["data"]
    assert data[0]["x"] == sorted(data[0]["x"])
    assert data[0]["y"][-1] == 1.0


def test_how_far_runs_got(snapshot) -> None:
    data = course.survival(snapshot, "light")["data"]
    ended = [run for run in snapshot.runs if run.ended_at is not None and run.rows]
    assert data[0]["y"][0] == len(ended)
    assert sum(data[1]["y"]) == sum(run.stopped_early for run in ended)


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("runs", [0, 1, 40])
def test_every_drawing_of_every_sweep(backend, name: str, runs: int) -> None:
    make_sweep(backend, runs)
    figure = draw(name, Reader(backend).snapshot("abcd1234"), View(), Analyst(backend))
    assert set(figure) == {"data", "layout"}
    assert figure["data"] or figure["layout"]["annotations"][0]["text"]
    if runs == 40 and name not in ("what_if", "lineage"):
        assert figure["data"]


def test_advice(backend) -> None:
    make_sweep(backend, 300)
    snapshot, analyst = Reader(backend).snapshot("abcd1234"), Analyst(backend)
    played = analyst.what_if(snapshot, "val_loss")
    assert played.longest == 27
    assert played.runs == sum(
        run.state == "finished" and not run.stopped_early for run in snapshot.runs
    )
    assert all(0 < one.saved < 1 for one in played.outcomes)
    words, block, call, *_ = advice(snapshot, "val_loss", analyst)
    assert str(played.runs) in words.children
    assert "type: hyperband" in str(block)
    assert "ASHAScheduler(" in str(call)
    assert analyst.what_if(snapshot, "val_loss") is played
    assert advice(snapshot, "val_loss", Analyst()) == []


def test_runs_that_report_once_cannot_be_stopped(backend) -> None:
    _spread(backend, 30, lambda x, y, z=0.0: x)
    snapshot, analyst = Reader(backend).snapshot("abcd1234"), Analyst(backend)
    (words,) = draw("what_if", snapshot, View(), analyst)["layout"]["annotations"]
    assert words["text"].startswith("Runs have no curve of this metric")
    backend.apply([LogRows(run.id, [Row(0, 1.0, {"loss": 0.5})]) for run in snapshot.runs])
    snapshot, analyst = Reader(backend).snapshot("abcd1234"), Analyst(backend)
    (words,) = draw("what_if", snapshot, View(), analyst)["layout"]["annotations"]
    assert words["text"].startswith("Runs have a single value of this metric")


def test_runs_at_once() -> None:
    spans = [(0.0, 10.0), (0.0, 10.0), (10.0, 20.0), (10.0, 20.0)]
    assert at_once([Run(id="x", sweep_id="s", started_at=a, ended_at=b) for a, b in spans]) == 2
    assert at_once([]) == 1


def test_drawings_of_many_runs_are_bounded(backend) -> None:
    make_sweep(backend, 1)
    operations = []
    for number in range(4000):
        run = Run(id=f"m{number}", sweep_id="abcd1234", state="running", config={"lr": number + 1})
        operations += [
            PutRun(run),
            PatchRun(run.id, {"summary": {"val_loss": float(number)}, "state": "finished"}, 2.0),
        ]
    backend.apply(operations)
    results = Results.of(Reader(backend).snapshot("abcd1234"), "val_loss")
    assert len(results.indices) == 4001
    shown = results.thinned(600)
    assert 500 < len(shown.indices) <= 600
    assert min(results.values) in shown.values


def test_parameters_that_the_config_does_not_name(backend) -> None:
    backend.apply([PutSweep(Sweep(id="abcd1234", config={"method": "custom"}, created_at=1.0))])
    for number in range(4):
        config = {"a": {"b": number}, "same": 1}
        backend.apply([PutRun(Run(id=f"r{number}", sweep_id="abcd1234", config=config))])
    assert [one.path for one in Reader(backend).snapshot("abcd1234").varied] == ["a.b"]


def test_the_twin(client, backend) -> None:
    make_sweep(backend, 60)
    url = "/api/sweeps/abcd1234/importance"
    answer = client.get(f"{url}?measure=correlation").json()
    assert (answer["metric"], answer["measure"]) == ("val_loss", "correlation")
    assert {one["path"] for one in answer["parameters"]} == set(CONFIG["parameters"]) - {"epochs"}
    assert client.get(f"{url}?metric=nothing").status_code == 422
    assert client.get(f"{url}?measure=nothing").status_code == 422
    assert client.get("/api/sweeps/none/importance").status_code == 404


def test_the_page_has_an_address(client, backend) -> None:
    make_sweep(backend, 2)
    assert client.get("/sweeps/abcd1234/analysis").status_code == 200
    assert client.get("/sweeps/none/analysis").status_code == 404


def _spread(backend, runs: int, value) -> None:
    """A sweep of x and y, with the metric as their function; every second run also has z."""
    config = {
        "method": "random",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}},
    }
    backend.apply([PutSweep(Sweep(id="abcd1234", config=config, created_at=1.0))])
    rng, operations = random.Random(5), []
    for number in range(runs):
        values = {"x": rng.random(), "y": rng.random()}
        if number % 2:
            values["z"] = rng.random()
        run = Run(id=f"r{number:04d}", sweep_id="abcd1234", config=values)
        changes = {"state": "finished", "summary": {"loss": value(**values)}}
        operations += [PutRun(run), PatchRun(run.id, changes, 2.0)]
    backend.apply(operations)


@pytest.mark.parametrize("pair", ["rank", "value"])
def test_the_pair_shows_a_known_function(backend, pair: str) -> None:
    """What is expected between the runs is near to what is there."""
    _spread(backend, 800, lambda x, y, z=0.0: (x - 0.3) ** 2 + (y - 0.7) ** 2)
    snapshot = Reader(backend).snapshot("abcd1234")
    surface, dots = draw("contour", snapshot, View(pair=pair), Analyst(backend))["data"]
    assert (len(surface["x"]), len(surface["z"])) == (40, 40)
    sign = 1.0 if pair == "value" else -1.0  # ranks are 1 for the best run
    found, expected = [], []
    for y, row in zip(surface["y"], surface["z"], strict=True):
        for x, z in zip(surface["x"], row, strict=True):
            found.append(sign * z)
            expected.append((x - 0.3) ** 2 + (y - 0.7) ** 2)
    from scipy.stats import spearmanr

    assert spearmanr(found, expected).statistic > 0.95
    if pair == "value":
        wrong = [abs(one - other) for one, other in zip(found, expected, strict=True)]
        assert sum(wrong) / len(wrong) < 0.03
    lowest = min(range(len(found)), key=found.__getitem__)
    assert expected[lowest] < 0.02
    best = snapshot.ranked()[0]
    strongest = min if pair == "value" else max
    assert dots["marker"]["color"][best] == strongest(dots["marker"]["color"])


def test_ranks_are_those_of_optuna(backend) -> None:
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("optuna.visualization._rank")
    from optuna.visualization._rank import _get_rank_info

    _spread(backend, 60, lambda x, y, z=0.0: x - 2 * y)
    snapshot = Reader(backend).snapshot("abcd1234")
    study = optuna.create_study()
    uniform = optuna.distributions.FloatDistribution(0.0, 1.0)
    for config, summary in zip(snapshot.configs, snapshot.summaries, strict=True):
        study.add_trial(
            optuna.trial.create_trial(
                params={"x": config["x"], "y": config["y"]},
                distributions={"x": uniform, "y": uniform},
                value=summary["loss"],
            )
        )
    theirs = _get_rank_info(study, ["x", "y"], None, "loss")
    plot = theirs.sub_plot_infos[0][0]
    (trace,) = draw("ranks", snapshot, View(measure="correlation"), Analyst(backend))["data"]
    shown = {one["label"]: one["values"] for one in trace["dimensions"]}
    assert shown["x"] == pytest.approx(plot.xs, rel=1e-4)
    assert shown["y"] == pytest.approx(plot.ys, rel=1e-4)
    # Theirs goes from 0 for the best trial to 1, ours the other way round.
    order = sorted(range(60), key=plot.zs.__getitem__)
    ours = sorted(range(60), key=lambda at: -trace["marker"]["color"][at])
    assert ours == order


def test_slices_show_the_runs_that_have_a_parameter(backend) -> None:
    config = {"method": "custom", "metric": {"name": "loss", "goal": "minimize"}}
    _spread(backend, 40, lambda x, y, z=0.0: x + z)
    backend.update_sweep("abcd1234", config=config)
    figure = draw("slices", Reader(backend).snapshot("abcd1234"), View(), Analyst(backend))
    assert [len(trace["x"]) for trace in figure["data"]] == [40, 40, 20]
    assert len(figure["data"][2]["marker"]["color"]) == 20
    assert figure["layout"]["xaxis3"]["title"]["text"] == "z (20 runs)"


def test_conditional_parameters_have_their_scales(backend) -> None:
    tune = pytest.importorskip("ray.tune")
    space = {
        "w": tune.uniform(0.0, 1.0),
        "model": tune.choice(
            [
                {"kind": "svm", "C": tune.loguniform(1e-3, 10.0), "depth": tune.randint(1, 9)},
                {"kind": "net", "lr": tune.loguniform(1e-5, 1e-1), "depth": tune.uniform(0, 1)},
            ]
        ),
    }
    config = dict(SweepConfig.from_tune("train.py", config=space, metric="loss", mode="min"))
    backend.apply([PutSweep(Sweep(id="abcd1234", config=config, created_at=1.0))])
    for number in range(6):
        model = (
            {"kind": "svm", "C": 10.0 ** (number - 3), "depth": number + 1}
            if number % 2
            else {"kind": "net", "lr": 10.0 ** (-number - 1), "depth": number / 10}
        )
        values = {"w": number / 6, "model": model}
        run = Run(id=f"r{number}", sweep_id="abcd1234", config=values, summary={"loss": number})
        backend.apply([PutRun(run), PatchRun(run.id, {"state": "finished"}, 2.0)])
    shown = {one.path: one for one in Reader(backend).snapshot("abcd1234").varied}
    assert set(shown) == {"w", "model.kind", "model.C", "model.lr", "model.depth"}
    assert shown["model.C"].log
    assert (shown["model.lr"].low, shown["model.lr"].high) == pytest.approx((1e-5, 1e-1))
    assert shown["model.depth"].low is None  # it has two laws


def test_several_objectives_have_their_goals(backend) -> None:
    search = {"OptunaSearch": {"metric": ["loss", "height"], "mode": ["min", "max"]}}
    config = {
        "method": "bayes",
        "metric": {"name": "loss", "goal": "minimize"},
        "controller": {"type": "cloud", "tune": {"version": 1, "search_alg": search}},
    }
    _spread(backend, 5, lambda x, y, z=0.0: x)
    for number in range(5):
        backend.update_run(f"r{number:04d}", summary={"another": 1.0, "height": float(number)})
    backend.update_sweep("abcd1234", config=config)
    snapshot = Reader(backend).snapshot("abcd1234")
    assert objectives(snapshot) == {"loss": "minimize", "height": "maximize"}
    assert Results.of(snapshot, "height").goal == "maximize"
    view = View().filled(snapshot, Analyst(backend))
    assert (view.metric, view.objectives) == ("loss", ("loss", "height"))


def test_a_page_of_many_runs_is_small(backend) -> None:
    """Drawings of many runs and parameters are thinned: all of them are less than a megabyte."""
    _spread(backend, 2000, lambda x, y, z=0.0: x + y)
    snapshot, analyst = Reader(backend).snapshot("abcd1234"), Analyst(backend)
    sizes = {
        name: len(json_bytes(draw(name, snapshot, View(measure="correlation"), analyst)))
        for name in FIGURES
    }
    assert sum(sizes.values()) < 600_000, sizes
    assert sizes["progress"] > 20_000


def test_what_is_chosen_is_in_the_query() -> None:
    query = "?metric=a&measure=forest&one=c&two=d&pair=value&colour=e&over=time&log=1"
    view = View.of(f"{query}&objectives=f&objectives=g&reference=1,%202e3", "dark")
    assert view == View(
        "a", "forest", "c", "d", "value", "e", "time", True, ("f", "g"), (1.0, 2000.0), "dark"
    )
    assert View.of("?measure=x&pair=x&over=x&log=yes&reference=1,x", None) == View()
    assert set(CHOICES) == set(View.__struct_fields__) - {"scheme"}


def _go_to(page, name: str, shown: str) -> None:
    """Scrolls to a drawing until it is there; those above are drawn meanwhile, and move it."""
    found = f"document.querySelector('#analysis-{name}')"
    page.wait_for_function(f"() => {{ {found}?.scrollIntoView(); return {found}{shown}; }}")


@pytest.mark.browser
@pytest.mark.slow
def test_in_the_browser(page, backend) -> None:
    from playwright.sync_api import expect

    page.set_default_timeout(120_000)  # a page of twelve drawings, on a busy machine
    make_sweep(backend, 60)
    page.goto("/sweeps/abcd1234")
    page.get_by_role("link", name="Analysis").click()
    page.wait_for_selector("#analysis-importance .barlayer .point")
    # What is far below is made when one comes near.
    expect(page.locator("#analysis-pareto")).to_contain_text("computing")
    shown = set(FIGURES) - {"lineage"}
    assert page.locator("#analysis-lineage").count() == 0
    for name in shown:
        if name != "what_if":
            _go_to(page, name, "?.querySelector('.js-plotly-plot')?._fullData?.length > 0")
        svg = "?.querySelector('.main-svg')?.getBoundingClientRect().height"
        _go_to(page, name, f"{svg} > 150" if name != "what_if" else f"{svg} < 150")
    expect(page.locator("#analysis-what_if")).to_contain_text("Too few runs ran to their ends")
    page.locator("#choose-objectives").click()
    page.get_by_role("option", name="epoch").click()
    page.wait_for_function("() => location.search.match(/objectives=/g)?.length === 3")
    _go_to(page, "pareto", "?.querySelectorAll('.cartesianlayer .subplot').length > 2")
    page.keyboard.press("Escape")
    page.locator("#choose-reference").fill("5, 0, 30")
    expect(page.locator("#analysis-hypervolume")).to_contain_text("(chosen): val_loss 5")
    page.wait_for_function("() => location.search.includes('reference=5')")
    page.locator("#choose-measure").click()
    page.get_by_role("option", name="correlation").click()
    page.wait_for_function("() => location.search.includes('measure=correlation')")
    expect(page.locator("#analysis-importance")).to_contain_text("(η²)")
    page.reload()
    expect(page.locator("#choose-measure")).to_have_value("correlation")
    expect(page.locator("#analysis-importance")).to_contain_text("(η²)")


@pytest.mark.browser
@pytest.mark.slow
def test_two_parameters_in_pairs(page, backend) -> None:
    """Plotly throws at the lower half of a matrix of two."""
    page.set_default_timeout(120_000)
    _spread(backend, 40, lambda x, y, z=0.0: x - 2 * y)
    page.goto("/sweeps/abcd1234/analysis")
    _go_to(page, "ranks", "?.querySelectorAll('.cartesianlayer .subplot').length > 1")


def _sampled(runs: int, seed: int) -> tuple[dict[str, list[Any]], list[float]]:
    """Runs of a function that a decides, b and c change a little, and d does not touch."""
    rng = random.Random(seed)
    columns: dict[str, list[Any]] = {
        **{name: [rng.random() for _ in range(runs)] for name in "abd"},
        "c": [rng.choice(["p", "q", "r"]) for _ in range(runs)],
    }
    place = {"p": 0.0, "q": 0.5, "r": 1.0}
    target = [
        3 * a + b + place[c] + rng.gauss(0, 0.3)
        for a, b, c in zip(columns["a"], columns["b"], columns["c"], strict=True)
    ]
    return columns, target


@pytest.mark.parametrize("kind", measures())
def test_intervals_hold_what_many_runs_say(kind: str) -> None:
    truth = {one.path: one.value for one in measure(*_sampled(3000, 99), kind)}
    inside, again = dict.fromkeys(truth, 0), 6
    for seed in range(again):
        found = measure(*_sampled(60, seed), kind)
        assert found[0].path == "a"
        for one in found:
            assert one.low <= one.value <= one.high
            inside[one.path] += one.low <= truth[one.path] <= one.high
    assert sum(inside.values()) >= 0.75 * again * len(truth), inside
    assert min(inside.values()) >= 0.5 * again, inside
