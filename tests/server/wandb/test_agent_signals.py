"""Unmodified agents of wandb: signals, limits of failures, programs that are deaf to a stop."""

from __future__ import annotations

import os
import signal

import pytest

from tests.server.wandb.test_agents import FAST, make, until

pytestmark = pytest.mark.slow

PROGRAM = """\
import os, pathlib, signal, sys, time, wandb
how = sys.argv[1].partition("=")[2]
if how == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
run = wandb.init()
run.log({"loss": 1.0})
pathlib.Path(f"begun-{how}").write_text(str(os.getpid()))
while not (how == "orphan" and pathlib.Path("go").exists()):
    time.sleep(0.1)
    run.log({"loss": 1.0})
"""


def begin(place, how: str, *options: str, **env: str):
    """An agent whose program has begun."""
    place.write("signals.py", PROGRAM)
    sweep = make(
        place,
        program="signals.py",
        method="grid",
        parameters={"how": {"values": [how]}},
        command=["${env}", "python", "${program}", "${args}"],
    )
    agent = place.start("wandb", "agent", *options, sweep, env={**FAST, **env})
    return sweep, agent


def pid_of(place, how: str) -> int:
    path = place.folder / f"begun-{how}"
    return int(until(lambda: path.exists() and path.read_text()))


def test_signals_to_agents_and_stops_for_programs_that_are_deaf(place):
    forwarded, first = begin(place, "forwarded", "--forward-signals")
    orphaned, second = begin(place, "orphan")
    stopped, third = begin(place, "deaf", WANDB_AGENT_KILL_DELAY="1")
    # Ctrl-C reaches the program, which wandb interrupts: 255.
    pid_of(place, "forwarded")
    first.send_signal(signal.SIGINT)
    said, _ = first.communicate(timeout=120)
    (run,) = place.backend.runs(forwarded)
    assert (run.state, run.exit_code) == ("killed", 255), said
    # An agent that is terminated leaves its program behind, which says itself how it ends.
    pid_of(place, "orphan")
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == -signal.SIGTERM
    (place.folder / "go").touch()
    until(lambda: place.backend.runs(orphaned)[0].state == "finished")
    second.communicate(timeout=60)
    # A stop is said again until the program is gone.
    pid = pid_of(place, "deaf")
    (run,) = place.backend.runs(stopped)
    place.python(f"wandb.Api().run('local/agents/{run.id}').stop()")
    third.communicate(timeout=120)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    (run,) = place.backend.runs(stopped)
    assert (run.state, run.stopped_early) == ("finished", True)
    shown = place.python(f"answer(wandb.Api().run('local/agents/{run.id}').state)")
    assert shown == "killed"


def test_a_function_is_stopped_by_a_scheduler(place):
    tune = {"version": 1, "stop": {"training_iteration": 3}}
    sweep = make(
        place,
        method="grid",
        parameters={"n": {"values": [1]}},
        controller={"type": "cloud", "tune": tune},
    )
    place.python(
        f"""
        import time
        def function():
            run = wandb.init()
            while True:
                run.log({{"loss": 1.0}})
                time.sleep(0.1)
        wandb.agent("{sweep}", function=function, project="agents", entity="local", count=1)
        """,
        **FAST,
    )
    (run,) = place.backend.runs(sweep)
    assert (run.state, run.stopped_early) == ("finished", True)


def test_an_agent_gives_up_after_failures(place):
    place.write("fails.py", "import sys; sys.exit(3)\n")
    sweep = make(place, program="fails.py", run_cap=9)
    said = place.call(
        "wandb", "agent", sweep, WANDB_AGENT_MAX_INITIAL_FAILURES="2", WANDB_SILENT="false",
        WANDB_AGENT_DISABLE_FLAPPING="true",
    )  # fmt: skip
    assert "WANDB_AGENT_MAX_INITIAL_FAILURES" in said
    states = [run.state for run in place.backend.runs(sweep)]
    assert states == ["failed", "running"], "of the last one it says nothing: the lease will tell"
    assert place.backend.sweep(sweep).state == "running", "others may do better"
