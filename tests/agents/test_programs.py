"""Programs as runs: parameters, output, failures, checkpoints across agents."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.agents.world import METRIC, Sign, World, ended, until
from tune_bridge.tune import schedulers
from tune_bridge.wire import Command

pytestmark = pytest.mark.slow

START = "import tune_bridge\nrun = tune_bridge.init()\n"
SAVES = """
    import json, os, pathlib, tempfile
    import tune_bridge

    run = tune_bridge.init()
    place = run.checkpoint()
    state = json.loads((place / "s.json").read_text()) if place else {"epoch": 0, "path": []}
    state["path"].append([run.id, os.getcwd()])
    for epoch in range(state["epoch"], 9):
        state["epoch"] = epoch + 1
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "s.json").write_text(json.dumps(state))
            run.save_checkpoint(folder)
        run.log({"loss": -run.config.x * (epoch + 1), "epoch": epoch + 1,
                 "path": json.dumps(state["path"])})
"""
"""Counts to nine; knows where it has been."""


VALUES = {
    "parameters": {
        "lr": {"value": 0.25},
        "flag": {"value": True},
        "off": {"value": False},
        "name": {"value": "a b"},
        "layers": {"value": [3, 4]},
        "net": {"parameters": {"depth": {"value": 2}}},
    }
}


@pytest.mark.parametrize(
    ("macro", "words"),
    [
        ("args", ["--lr=0.25", "--flag=True", "--off=False", "--name=a b", "--layers=[3, 4]",
                  "--net={'depth': 2}"]),
        ("args_no_hyphens", ["lr=0.25", "flag=True", "off=False", "name=a b", "layers=[3, 4]",
                             "net={'depth': 2}"]),
        ("args_no_boolean_flags", ["--lr=0.25", "--flag", "--name=a b", "--layers=[3, 4]",
                                   "--net={'depth': 2}"]),
        ("args_no_equals", ["--lr", "0.25", "--flag", "True", "--off", "False", "--name", "a b",
                            "--layers", "[3, 4]", "--net", "{'depth': 2}"]),
        ("args_append_hydra", ["+lr=0.25", "+flag=True", "+off=False", "+name=a b",
                               "+layers=[3, 4]", "+net={'depth': 2}"]),
        ("args_override_hydra", ["++lr=0.25", "++flag=True", "++off=False", "++name=a b",
                                 "++layers=[3, 4]", "++net={'depth': 2}"]),
        ("args_json", None),
        ("args_json_file", None),
    ],
)  # fmt: skip
def test_parameters_reach_programs(world: World, macro: str, words: list[str] | None) -> None:
    world.program(
        START
        + "import json, os, sys\n"
        + "run.log({'loss': 1.0, 'argv': json.dumps(sys.argv[1:]),"
        + " 'env': os.environ['TUNE_BRIDGE_CONFIG'], 'config': json.dumps(run.config),"
        + " 'file': open(sys.argv[1]).read() if os.path.exists(sys.argv[1]) else ''})\n"
    )
    command = ["${env}", "${interpreter}", "${program}", f"${{{macro}}}"]
    config = {"method": "random", "metric": METRIC, "program": "train.py", "run_cap": 1}
    sweep = world.sweep({**config, **VALUES, "command": command})
    assert world.work(sweep).counts == {"finished": 1}
    (run,) = world.runs(sweep)
    (row,) = world.rows(run.id)
    config = {"lr": 0.25, "flag": True, "off": False, "name": "a b", "layers": [3, 4],
              "net": {"depth": 2}}  # fmt: skip
    assert json.loads(row.values["env"]) == json.loads(row.values["config"]) == config
    argv = json.loads(row.values["argv"])
    if words is None:
        text = row.values["file"] if macro == "args_json_file" else argv[0]
        assert json.loads(text) == config
        assert len(argv) == 1
    else:
        assert argv == words
    assert run.config == config


def test_a_program_in_another_language(world: World) -> None:
    sweep = world.sweep(command=["/bin/sh", "-c", 'echo "$TUNE_BRIDGE_CONFIG"; exit 7'])
    assert world.work(sweep).counts == {"failed": 1}
    (run,) = world.runs(sweep)
    assert json.loads(world.output(run.id)) == run.config
    assert (run.state, run.exit_code) == ("failed", 7)
    assert "exit code 7" in run.message


@pytest.mark.parametrize(
    ("source", "state", "message"),
    [
        ("print('hello'); raise ValueError('broken')", "failed",
         "the program failed with exit code 1: ValueError: broken"),
        ("import os; os.kill(os.getpid(), 9)", "failed", "ended by SIGKILL"),
        ("print('no report')", "finished", "never called tune_bridge.init()"),
        (START + "run.log({'acc': 1})", "finished", "never reported the metric 'loss'"),
        (START + "run.log({'loss': float('nan')})", "finished", "is nan, no usable number"),
        ("import sys; sys.stdout.buffer.write(bytes(range(256)) * 400)", "finished", "never"),
    ],
)  # fmt: skip
def test_how_programs_end(world: World, source: str, state: str, message: str) -> None:
    world.program(source)
    sweep = world.sweep(program="train.py")
    assert world.work(sweep).counts == {state: 1}
    (run,) = world.runs(sweep)
    assert run.state == state
    assert message in run.message
    assert "output.log" not in run.message  # that file is gone with the agent


def test_output_is_kept_with_the_run_by_attempt(world: World) -> None:
    world.program("import os\nprint('attempt', os.getpid(), flush=True)\nraise SystemExit(3)\n")
    sweep = world.sweep(program="train.py")
    assert world.work(sweep).counts == {"failed": 1}
    (run,) = world.runs(sweep)
    world.server.command(sweep, Command("retry"))
    assert world.work(sweep).counts == {"failed": 1}
    lines = world.output(run.id).splitlines()
    assert [line.split()[0] for line in lines] == ["attempt", "attempt"]
    assert len(set(lines)) == 2
    shown = world.server.get(f"/api/runs/{run.id}")
    assert shown["output_url"] == f"/api/runs/{run.id}/output"


def test_output_can_be_read_while_it_runs(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    world.program(
        START + f"import os, time\nprint('half way', flush=True)\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.02)\nrun.log({{'loss': 1.0}})\n"
    )
    sweep = world.sweep(program="train.py")
    agent = world.agent(sweep)
    (run,) = until(lambda: world.runs(sweep))
    until(lambda: world.output(run.id) == "half way\n")
    gate.touch()
    assert ended(agent)[0] == 0


def test_a_hanging_program_is_ended_with_its_children(world: World, tmp_path: Path) -> None:
    sign = Sign(tmp_path / "pids")
    world.program(
        START
        + f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
with open({str(sign.path)!r}, "a") as file:
    file.write(f"{{os.getpid()}}\\n{{child.pid}}\\n")
run.log({{"loss": 1.0}})
time.sleep(600)
"""
    )
    sweep = world.sweep(program="train.py")
    agent = world.agent(sweep, "--grace", "0.5", "--json")
    sign.wait(2)
    assert len(sign.alive()) == 2
    world.server.command(sweep, Command("cancel"))
    code, out, _ = ended(agent)
    assert code == 1
    assert json.loads(out)["counts"] == {"killed": 1}
    assert sign.alive() == []


def test_two_agents_in_two_folders_go_on_from_each_others_checkpoints(
    world: World, tmp_path: Path
) -> None:
    """PBT: runs are paused and copied; each agent is a process with a folder of its own."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        world.program(SAVES, folder=folder)
    sweep = world.tuned(
        6,
        scheduler=schedulers.PopulationBasedTraining(
            time_attr="training_iteration",
            perturbation_interval=2,
            hyperparam_mutations={"x": [0.25, 0.5, 1.0]},
        ),
    )
    agents = [world.agent(sweep, "--jobs", "2", folder=folder) for folder in folders]
    for agent in agents:
        code, out, err = ended(agent, 120)
        assert code == 0, err
        assert "6 runs" in out
    runs = world.runs(sweep)
    assert [run.state for run in runs] == ["finished"] * 6
    paths = {}
    for run in runs:
        rows = world.rows(run.id)
        assert [row.step for row in rows] == list(range(len(rows)))
        assert rows[-1].values["epoch"] == 9
        paths[run.id] = json.loads(rows[-1].values["path"])
    # Some went on where the other agent had left them,
    assert any(len({folder for _, folder in path}) == 2 for path in paths.values())
    # and some with the state of another run, and with its values changed.
    donors = {run.id: run.meta["exploit"]["donor"] for run in runs if "exploit" in run.meta}
    assert donors
    copies = [run for run, donor in donors.items() if donor in {origin for origin, _ in paths[run]}]
    assert copies
    for run in runs:
        if run.id in copies:
            assert run.config["x"] == run.meta["exploit"]["new"]["x"]


def test_a_paused_run_goes_on_where_it_was(world: World) -> None:
    world.program(SAVES)
    sweep = world.tuned(6, scheduler=schedulers.HyperBandScheduler(max_t=9))
    assert world.work(sweep, jobs=2).counts["paused"] > 0
    assert max(event.get("attempt", 0) for event in world.events(sweep)) > 1
    for run in world.runs(sweep):
        epochs = [row.values["epoch"] for row in world.rows(run.id)]
        assert epochs == list(range(1, len(epochs) + 1)), "something was done twice, or left out"


@pytest.mark.parametrize(
    "scheduler",
    [
        schedulers.HyperBandScheduler(max_t=9),
        schedulers.HyperBandForBOHB(max_t=9),
        schedulers.PopulationBasedTraining(hyperparam_mutations={"x": [0.1, 0.2]}),
        schedulers.MedianStoppingRule(hard_stop=False),
    ],
    ids=["HyperBandScheduler", "HyperBandForBOHB", "PopulationBasedTraining", "MedianStoppingRule"],
)
def test_who_cannot_save_is_refused_by_who_pauses(world: World, scheduler: Any) -> None:
    world.program(START + "for i in range(20): run.log({'loss': i})")
    sweep = world.tuned(4, scheduler=scheduler)
    assert world.work(sweep).counts == {"killed": 1}
    gate, reason = world.gate(sweep)
    assert gate == "failed"
    assert re.match("(HyperBand|Population|Median)", reason)
    assert "run.checkpoint()" in reason
    (run,) = [run for run in world.runs(sweep) if run.rows]
    assert (run.state, run.rows) == ("killed", 1)


def test_folders_are_gone_afterwards(world: World, tmp_path: Path) -> None:
    world.program(SAVES)
    sweep = world.sweep(program="train.py", run_cap=2)
    agent = world.agent(sweep, TMPDIR=str(tmp_path))
    assert ended(agent)[0] == 0
    assert list(tmp_path.iterdir()) == []


def test_folders_of_a_killed_agent_are_removed_by_the_next(world: World, tmp_path: Path) -> None:
    base = tmp_path / "tmp"
    base.mkdir()
    sign = Sign(tmp_path / "pids")
    world.program(
        f"import os, time\nopen({str(sign.path)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "time.sleep(600)\n"
    )
    sweep = world.sweep(program="train.py", run_cap=2)
    first = world.agent(sweep, "--grace", "0.1", TMPDIR=str(base))
    sign.wait()
    second = world.agent(sweep, "--grace", "0.1", TMPDIR=str(base))
    sign.wait(2)
    assert len(list(base.glob("*.lock"))) == 2, "the second one leaves a living one's alone"
    first.kill()
    until(lambda: len(sign.alive()) == 1)
    other = world.sweep(command=["true"])
    assert ended(world.agent(other, TMPDIR=str(base)))[0] == 0
    assert len(list(base.iterdir())) == 2
    second.terminate()
    assert ended(second)[0] == 130
    assert list(base.iterdir()) == []


def test_per_gpu(world: World) -> None:
    world.program(
        START + "import os\nrun.log({'loss': 1.0, 'gpu': os.environ['CUDA_VISIBLE_DEVICES']})\n"
        "import time\ntime.sleep(0.3)\n"
    )
    sweep = world.sweep(program="train.py", run_cap=6)
    agent = world.agent(sweep, "--per-gpu", "--jobs", "1", CUDA_VISIBLE_DEVICES="3,GPU-abc")
    assert ended(agent)[0] == 0
    gpus = {world.rows(run.id)[0].values["gpu"] for run in world.runs(sweep)}
    assert gpus == {"3", "GPU-abc"}
    code, _, err = ended(world.agent(sweep, "--per-gpu", CUDA_VISIBLE_DEVICES=""))
    assert code == 1
    assert err.startswith("error: --per-gpu: no GPU is visible here")


def test_an_agent_loads_nothing_heavy(world: World) -> None:
    """Measured in the agent itself, after it has run a program."""
    world.program(START + "run.log({'loss': 1.0})\n")
    sweep = world.sweep(program="train.py")
    source = (
        "import sys\nfrom tune_bridge.cli.main import main\n"
        "try:\n    main(['agent', *sys.argv[1:]])\nexcept SystemExit as end:\n"
        "    assert not end.code, end.code\nprint(*sorted(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, sweep, "--server", world.url, "--key", "a key of tests"],
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "tune_bridge.agents.process" in loaded
    heavy = {"ray", "numpy", "pandas", "sqlalchemy", "fastapi", "hyperopt", "wandb", "sklearn",
             "scipy", "torch", "dash", "uvicorn", "starlette"}  # fmt: skip
    assert loaded & heavy == set()


def test_name_and_jobs(world: World) -> None:
    world.program(START + "run.log({'loss': run.config.x})\n")
    sweep = world.sweep(program="train.py", run_cap=4)
    agent = world.agent(sweep, "--name", "the-one", "--jobs", "2", "--count", "3", "-q", "--json")
    code, out, err = ended(agent)
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "counts": {"finished": 3}, "reason": "it has had its number of runs", "left": 0,
    }  # fmt: skip
    assert {run.meta["agent"] for run in world.runs(sweep)} == {"the-one"}
