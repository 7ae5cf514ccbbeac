"""The page of a run, and what can be done from the pages."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import pytest

from tune_bridge.backends.base import LogRows, Row, Run

pytest.importorskip("dash")

from tests.server.seed import make_sweep
from tune_bridge.server.addresses import Address
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.callbacks import make_page
from tune_bridge.server.figures import Line, run_curves, smoothed, thinned
from tune_bridge.server.run_cards import (
    decision_part,
    life_card,
    message_part,
    output_part,
    readable,
)
from tune_bridge.server.run_curves import AXES, Look, marks, run_figure
from tune_bridge.server.run_files import RunFiles
from tune_bridge.server.run_life import Change, Decision, Life, Logs, Moment
from tune_bridge.server.site import Site
from tune_bridge.server.sweep_parts import sweep_head
from tune_bridge.server.views import Reader

SWEEP = {
    "program": "train.py",
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "kind": {"values": ["a b", "c"]}},
    "run_cap": 20,
}


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/", Address("sweeps")),
        ("/sweeps/ab", Address("sweep", "ab")),
        ("/sweeps/ab/", Address("sweep", "ab")),
        ("/sweeps/a%2Fb", Address("sweep", "a/b")),
        ("/sweeps/ab/analysis", Address("analysis", "ab")),
        ("/sweeps/ab/runs/r%20%2F1", Address("run", "ab", "r /1")),
        ("/sweeps/ab/runs", Address("missing")),
        ("/sweeps", Address("missing")),
        ("/elsewhere", Address("missing")),
    ],
)
def test_addresses(path: str, address: Address) -> None:
    assert Address.of(path) == address
    if address.page != "missing":
        assert Address.of(address.path) == address


def test_output_is_shown_as_a_terminal_leaves_it() -> None:
    assert readable(b"\x1b[32mepoch 1\x1b[0m\r\n") == "epoch 1\n"
    assert readable(b"10%\r20%\r100%\rdone\n50%\r") == "done\n50%"
    assert readable(b"\x1b]0;title\x07a\x1b[2Kb\x08\x00c\xff") == "abc\N{REPLACEMENT CHARACTER}"


def test_the_end_of_an_output(control) -> None:
    files = RunFiles(control, Logs(control.controller.backend))
    run = Run(id="run1", sweep_id="sweep1")
    assert texts(output_part(files, run)[0]) == "Nothing is kept of what its program has printed."
    control.store.add_output("sweep1", "run1", 1, 0, b"first line\n" * 10)
    control.store.add_output("sweep1", "run1", 2, 0, b"second <b>line</b>\n")
    assert files.tail(run, 25) == (b" line\nsecond <b>line</b>\n", 129)
    assert files.tail(run, 1000) == (b"first line\n" * 10 + b"second <b>line</b>\n", 129)
    content, size = output_part(files, run)
    assert size == 129
    assert "first line\nsecond <b>line</b>" in texts(content)
    control.store.add_output("sweep1", "run1", 2, 19, b"x" * 10 + b"\n" + b"y" * 70_000)
    content, size = output_part(files, run)
    assert texts(content).startswith("The end of 70.1 kB:")
    assert "x" not in texts(content)
    assert output_part(files, Run(id="../..", sweep_id="sweep1"))[1] == 0
    assert output_part(None, run)[1] == 0


def texts(component: object) -> str:
    """What a page shows, without its tags."""
    if component is None:
        return ""
    if isinstance(component, list | tuple):
        return "".join(texts(part) for part in component)
    if isinstance(component, str | int | float):
        return str(component)
    return texts(getattr(component, "children", None))


def test_a_traceback_is_folded_under_its_error() -> None:
    frames = "".join(f'  File "train.py", line {line}, in f\n    f()\n' for line in range(20))
    long = f"exit code 1\nTraceback (most recent call last):\n{frames}ValueError: <b>no</b>"
    head, folded = message_part(Run(id="a", sweep_id="s", state="failed", message=long))
    assert texts(head) == "exit code 1\nValueError: <b>no</b>"
    assert "tb-on-failed" in head.className
    assert texts(folded).startswith("Traceback, 43 linesexit code 1\nTraceback")
    assert not getattr(folded, "open", False)
    (short,) = message_part(Run(id="a", sweep_id="s", message="\x1b[31mexit code 1\x1b[0m"))
    assert texts(short) == "exit code 1"
    assert message_part(Run(id="a", sweep_id="s", message=" \n")) == []


def test_the_decision_leads_to_the_early_stopping_of_the_sweep() -> None:
    run = Run(id="a", sweep_id="s t")
    rung = Decision(1.0, "AsyncHyperBandScheduler", "loss <2>", {"rung": 9, "rank": 2, "of": 3})
    (shown,) = decision_part(run, rung)
    assert texts(shown) == "Ended by ASHA: loss <2>.Rung 9Rank 2 of 3Early stopping of the sweep"
    assert shown.children[1].children[-1].href == "/sweeps/s%20t/analysis#analysis-rungs"
    (shown,) = decision_part(run, Decision(None, "stop", "loss reached 1"))
    assert texts(shown).startswith("Ended by the stop condition: loss reached 1.")
    assert shown.children[1].children[-1].href.endswith("#analysis-survival")
    assert decision_part(run, None) == []


def test_long_lives_are_folded_and_checkpoints_told_together() -> None:
    run = Run(id="a", sweep_id="s")
    saved = [Moment(float(at), "checkpoint", f"c{at}", at) for at in range(1, 6)]
    moments = [Moment(0.0, "created"), *saved, Moment(9.0, "ended", "finished <b>")]
    (short,) = life_card(run, Life(moments, [], None, []))
    assert "5 checkpointsuntil then, iterations 1 to 5" in texts(short)
    assert texts(short).endswith("finished <b>")
    many = [Moment(float(at), "paused", "", at, "donor1") for at in range(1000)]
    (long,) = life_card(run, Life(many, [], None, []))
    assert "988 more, the last 500 of them here" in texts(long)
    assert "1000 events" in texts(long)


def test_marks_stand_where_a_configuration_changed(backend) -> None:
    rows = [Row(step, 10.0 + step, {"loss": 1.0, "training_iteration": 5 + step}) for step in
            range(4)]  # fmt: skip
    changes = [
        Change(12.5, None, 7, "lr", 1, 2, "b"), Change(12.5, None, 7, "<i>", 1, 2, "b"),
        Change(13.5, 3, 8, "lr", 2, 3),
    ]  # fmt: skip
    found = {over: marks(rows, over, changes) for over in AXES}
    assert [(at, len(members)) for at, members in found["_step"]] == [(2.0, 2), (3.0, 1)]
    assert [at for at, _ in found["_timestamp"]] == [12.5, 13.5]
    assert [at for at, _ in found["training_iteration"]] == [7.0, 8.0]
    assert marks([], "_step", changes[:1]) == []
    make_sweep(backend, 1)
    snapshot = Reader(backend).snapshot("abcd1234")
    changes = [Change(12.5, 1, None, "<i>", 1, 2, "b"), Change(13.5, 3, 8, "lr", 2, 3)]
    figure = run_figure(Reader(backend), snapshot, snapshot.runs[0], Look(), changes)
    (first, last) = figure["layout"]["annotations"]
    assert first["hovertext"] == "&lt;i&gt;: 1 \N{RIGHTWARDS ARROW} 2"
    assert (last["x"], figure["layout"]["shapes"][1]["x0"]) == (3.0, 3.0)


def test_smoothing_is_debiased_and_keeps_gaps() -> None:
    assert smoothed([2.0, 2.0, None, 2.0], 0.9) == pytest.approx([2.0, 2.0, None, 2.0])
    one, two = smoothed([0.0, 1.0], 0.5)
    assert (one, two) == (0.0, pytest.approx(0.5 / 0.75))


def test_long_curves_are_thinned_and_end_where_they_end() -> None:
    points = [(float(step), float(step)) for step in range(100_000)]
    shown = thinned(points)
    assert len(shown) <= 3001
    assert (shown[0], shown[-1]) == (points[0], points[-1])
    assert thinned(points[:10]) == points[:10]


def test_curves_of_a_run(backend) -> None:
    make_sweep(backend, 3)
    reader = Reader(backend)
    snapshot = reader.snapshot("abcd1234")
    run = snapshot.runs[0]
    look = Look.of("?y=accuracy&y=val_loss&y=nothing&smooth=0.8&x=_timestamp", "dark")
    assert look.drawn(snapshot, run) == ["accuracy", "val_loss"]
    figure = run_figure(reader, snapshot, run, look)
    assert [trace["name"] for trace in figure["data"]] == ["accuracy"] * 2 + ["val_loss"] * 2
    assert figure["data"][0]["x"][:2] == pytest.approx([0.0, 20.0])
    assert figure["layout"]["xaxis"]["title"]["text"] == "time (s)"
    assert Look.of("?y=nothing", None).drawn(snapshot, run) == ["val_loss"]
    assert Look.of("?smooth=7&x=elsewhere", None) == Look()
    empty = run_curves([], "", over="step", times=False, smooth=0, log=False, scheme="light")
    assert empty["layout"]["annotations"][0]["text"] == "Nothing logged yet"


def test_values_that_are_no_numbers_are_gaps() -> None:
    points = [(0.0, 1.0), (1.0, math.nan), (2.0, 3.0)]
    line = Line("y", points, "red")
    figure = run_curves([line], "y", over="step", times=False, smooth=0, log=False, scheme="light")
    assert figure["data"][0]["y"] == [1.0, None, 3.0]


@pytest.fixture
def steered(control):
    """A sweep that agents run: one run has failed, one is finished, one is running."""
    sweep = control.controller.create(SWEEP, name="steered", seed=1)
    steering = control.controller.sweep(sweep.id)
    runs = []
    for number, state in enumerate(("failed", "finished", "")):
        claim = steering.claim(f"agent-{number}", "gpu-1", f"request-{number}")
        for step in range(5):
            row = Row(step, 1.76e9 + step, {"loss": claim.config["x"] + 1 / (step + 1)})
            steering.report(claim.run, 1, step, [row])
        if state:
            message = "exit code 1\n<b>ValueError</b>" if state == "failed" else ""
            steering.end(claim.run, 1, state, message=message)
        control.store.add_output(sweep.id, claim.run, 1, 0, b"epoch <1>\nepoch 2\n")
        runs.append(claim.run)
    return SimpleNamespace(id=sweep.id, runs=runs, sweep=steering)


def test_a_file_that_a_result_is_can_be_had_or_is_said_to_be_away(control, backend) -> None:
    make_sweep(backend, 1)
    run = backend.runs("abcd1234")[0]
    picture = {"_type": "image-file", "path": f"media/images/{EVIL}_1.png", "width": 3}
    gone = {"_type": "file", "path": "../../media/files/gone.npy"}
    values = {"val": {"picture": picture}, "rest": gone, "plain": {"path": "no file"}}
    backend.apply([LogRows(run.id, [Row(99, 1.0, values)])])
    with control.wandb.files.upload(("abcd1234", run.id), picture["path"]) as made:
        made.write(PNG)
        made.commit()
    reader, logs = Reader(backend), Logs(backend)
    here = make_page(
        Site(reader, Analyst(), logs, RunFiles(control, logs)),
        f"/sweeps/abcd1234/runs/{run.id}", "", None,
    ).content  # fmt: skip
    elsewhere = make_page(Site(reader, Analyst(), logs), f"/sweeps/abcd1234/runs/{run.id}", "",
                          None).content  # fmt: skip
    assert texts(here).count("This file is not here") == 1
    assert texts(elsewhere).count("This file is not here") == 2
    assert f"media/images/{EVIL}_1.png" in texts(here)
    assert "val.picture.width" not in texts(here)
    assert "plain.pathno file" in texts(here)


def test_a_sweep_that_came_to_its_end_has_no_banner(control, backend) -> None:
    sweep = control.controller.create({**SWEEP, "run_cap": 1}, seed=1)
    steering = control.controller.sweep(sweep.id)
    claim = steering.claim("agent", "host", "request-0")
    steering.end(claim.run, 1, "finished")
    steering.claim("agent", "host", "request-1")  # is told that there is no more
    found = Reader(backend).snapshot(sweep.id)
    assert (found.sweep.state, found.sweep.message) == (
        "finished", "all 1 runs have been given out",
    )  # fmt: skip
    assert "given out" not in texts(sweep_head(found))
    backend.update_sweep(sweep.id, message="the target was reached")
    assert "the target was reached" in texts(sweep_head(Reader(backend).snapshot(sweep.id)))


@pytest.mark.browser
@pytest.mark.slow
def test_a_run_and_its_verbs(page, steered, backend) -> None:
    from playwright.sync_api import expect

    failed, _, running = steered.runs
    page.goto(f"/sweeps/{steered.id}/runs/{failed}")
    expect(page.locator("#run-head")).to_contain_text("<b>ValueError</b>")
    expect(page.locator("#run-output")).to_contain_text("epoch <1>")
    expect(page.locator("#command")).to_contain_text("python train.py --x=")
    page.wait_for_selector("#run-curves .js-plotly-plot .scatterlayer .trace")

    # What a reader chooses is in the address, and the address brings it back.
    page.locator("#smooth").click()
    page.get_by_role("option", name="0.9", exact=True).click()
    page.wait_for_function("location.search === '?smooth=0.9'")
    page.reload()
    expect(page.locator("#smooth")).to_have_value("0.9")

    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#said")).to_contain_text(f"to be run once more: {failed}")

    # A configuration is edited and enqueued; what is none is refused where it stands.
    page.get_by_role("button", name="Enqueue").click()
    page.locator("#edited").fill("[1, 2]")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Enqueue").click()
    expect(dialog).to_contain_text("not a configuration")
    page.locator("#edited").fill("x: 0.25\nkind: c")
    dialog.get_by_role("button", name="Enqueue").click()
    expect(page.locator("#said")).to_contain_text("to be run next: ")
    assert {"x": 0.25, "kind": "c"} in [run.config for run in steered.sweep.state.runs.values()]

    # It goes on by itself when the run does.
    page.goto(f"/sweeps/{steered.id}/runs/{running}")
    page.get_by_role("button", name="Stop run").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop run").click()
    expect(page.locator("#said")).to_contain_text("is stopped")
    assert steered.sweep.heartbeat({running: 1})[running].kind in ("stop", "kill")
    steered.sweep.end(running, 1, "killed")
    expect(page.locator("#run-head")).to_contain_text(re.compile("stopped early|killed|finished"))
    assert backend.run(running).ended_at is not None


@pytest.mark.browser
@pytest.mark.slow
def test_verbs_of_a_sweep(page, steered) -> None:
    from playwright.sync_api import expect

    page.goto(f"/sweeps/{steered.id}")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#said")).to_contain_text("is paused; its running runs go on")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert steered.sweep.state.gate == "paused"
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="No").click()
    expect(page.get_by_role("dialog")).not_to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator("#said")).to_contain_text("is canceled")
    expect(page.locator("#head")).to_contain_text("canceled")
    expect(page.get_by_role("button", name="Pause")).not_to_be_visible()


@pytest.mark.browser
@pytest.mark.slow
def test_a_sweep_that_others_run_can_only_be_cloned(page, backend) -> None:
    from playwright.sync_api import expect

    make_sweep(backend, 2)
    page.goto("/sweeps/abcd1234")
    expect(page.get_by_text("Parallel coordinates")).to_be_visible()
    expect(page.locator(".tb-verbs button")).to_have_text(["Clone with changes"])


@pytest.mark.browser
@pytest.mark.slow
def test_a_sweep_is_cloned_with_changes(page, steered, backend) -> None:
    from playwright.sync_api import expect

    page.goto(f"/sweeps/{steered.id}?show=failed")
    button = page.get_by_role("button", name="Clone with changes")
    button.hover()
    expect(page.get_by_role("tooltip")).to_have_text("tune-bridge sweep sweep.yaml")
    button.click()
    edited = page.locator("#edited")
    expect(edited).to_have_value(re.compile(r"name: steered\n(.*\n)*program: train.py"))
    wrong = "program: train.py\nmethod: random\nparameters:\n  x: {min: 0, max: <b>}"
    edited.fill(wrong)
    page.keyboard.press("Control+Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("sweep:4:15: parameters.x.max: max is not a number")
    expect(edited).to_have_value(wrong)
    edited.fill(wrong.replace("<b>", "2.5") + "\nname: another\n")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="another")).to_be_visible()
    (made,) = [sweep for sweep in backend.sweeps() if sweep.id != steered.id]
    assert page.url.endswith(f"/sweeps/{made.id}")
    assert made.config["parameters"] == {"x": {"min": 0, "max": 2.5}}
    expect(dialog).not_to_be_visible()
    expect(page.locator("#said")).to_contain_text(f"made from it: sweep {made.id}")

    # Nothing is made of what was closed.
    page.get_by_role("button", name="Clone with changes").click()
    expect(edited).to_have_value(re.compile("name: another"))
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    assert len(backend.sweeps()) == 2


EVIL = "<img src=x onerror=alert(1)>"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000a49444154789c63000100"
    "00050001"
) + bytes.fromhex("0d0a2db40000000049454e44ae426082")


@pytest.mark.browser
@pytest.mark.slow
def test_the_story_of_a_run(page, steered, backend, control) -> None:
    from playwright.sync_api import expect

    failed, other, running = steered.runs
    for name, data in ((f"media/images/{EVIL}.png", PNG), (f"{EVIL}.html", b"<b>")):
        with control.wandb.files.upload((steered.id, failed), name) as upload:
            upload.write(data)
            upload.commit()
    lineage = [
        {"step": 0, "config": {EVIL: 1}},
        {"step": 3, "config": {EVIL: f"2{EVIL}"}, "time": 1.76e9 + 2.5, "donor": other},
    ]
    backend.update_run(failed, meta={"lineage": lineage})
    page.goto(f"/sweeps/{steered.id}/runs/{failed}")
    story = page.locator("#run-story")
    expect(story).to_contain_text(f"1 \N{RIGHTWARDS ARROW} 2{EVIL}")
    expect(story.get_by_role("link", name=other)).to_be_visible()
    expect(story.locator(".tb-life li .tb-what")).to_have_text(["created", "started", "ended"])
    expect(story.get_by_role("link", name=f"{EVIL}.html", exact=True)).to_be_visible()
    image = story.locator("figure img")
    expect(image).to_be_visible()
    assert image.evaluate("node => node.naturalWidth") == 1
    page.wait_for_selector("#run-curves .annotation")
    with page.expect_download() as download:
        story.get_by_role("link", name=f"{EVIL}.html", exact=True).click()
    assert download.value.path().read_bytes() == b"<b>"

    # Output comes as it is printed, although the sweep says nothing.
    page.goto(f"/sweeps/{steered.id}/runs/{running}")
    expect(page.locator("#run-output")).to_contain_text("epoch 2")
    control.store.add_output(steered.id, running, 1, 18, b"\x1b[1mepoch 3\x1b[0m\n")
    expect(page.locator("#run-output")).to_contain_text("epoch 3")
    assert "[1m" not in page.locator("#run-output").inner_text()


def test_a_dashboard_that_steers_nothing_shows_no_verbs() -> None:
    from tune_bridge.server.shell import shell

    classes = [shell(1, steers=steers).children[-1].className for steers in (True, False)]
    assert classes == ["tb-page", "tb-page tb-looks"]


def test_addresses_of_nothing_are_404(client, backend) -> None:
    make_sweep(backend, 1)
    make_sweep(backend, 1, sweep_id="other000")
    run, other = backend.runs("abcd1234")[0].id, backend.runs("other000")[0].id
    assert client.get(f"/sweeps/abcd1234/runs/{run}").status_code == 200
    for path in (f"/sweeps/abcd1234/runs/{other}", "/sweeps/abcd1234/runs/none", "/sweeps/x/y/z"):
        assert client.get(path).status_code == 404
