"""The command line: convert and explain, with right and wrong input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.corpus import SEED
from tune_bridge import SweepConfig
from tune_bridge.cli.main import COMMANDS

SWEEP = """\
program: train.py
method: random
parameters:
  lr: {distribution: log_uniform_values, min: 1e-5, max: 0.1}
run_cap: 20
"""


TWO = """
from tune_bridge import tune
a = tune.run('t.py', config={'x': tune.uniform(0, 1)})
b = tune.run('t.py', config={'y': tune.uniform(0, 1)})
"""

LAMBDA = """from tune_bridge import tune
tune.run('t.py', config={'x': tune.sample_from(lambda spec: 1)})
"""


def cli(*args: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from tune_bridge.cli.main import main; main()", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_what_names_no_program_says_so(tmp_path: Path) -> None:
    """A note, on its own and in JSON: a function may be given to the agent."""
    bare = SWEEP.replace("program: train.py\n", "")
    told = "note: no program: agents have nothing to start - add program: train.py\n"
    written(tmp_path, "bare.yaml", bare)
    written(tmp_path, "command.yaml", f"command: [python, -m, mine]\n{bare}")
    written(tmp_path, "sweep.yaml", SWEEP)
    expected = {"bare.yaml": told, "command.yaml": "", "sweep.yaml": ""}
    for name, words in expected.items():
        done = cli("convert", name, "--to", "sweep", "--strict", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, words)
        done = cli("explain", name, "--require", "exact", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, words)
    done = cli("convert", "bare.yaml", "--to", "tune", cwd=tmp_path)
    assert done.stderr == "note: no program - the function that trains is to be filled in\n"
    assert "NotImplementedError" in done.stdout
    assert "program" not in cli("convert", "bare.yaml", "--to", "configspace", cwd=tmp_path).stderr
    notes = json.loads(cli("convert", "bare.yaml", "--json", cwd=tmp_path).stdout)["notes"]
    assert [note["path"] for note in notes if note["level"] == "exact"] == ["program"]


def test_the_ending_of_the_output_says_what_is_written(tmp_path: Path) -> None:
    written(tmp_path, "s.yaml", SWEEP)
    written(tmp_path, "e.py", TWO.partition("b = ")[0])
    for name in ("s.json", "s2.yml"):
        assert cli("convert", "s.yaml", "-o", name, cwd=tmp_path).returncode == 0
        assert SweepConfig.load(tmp_path / name) == SweepConfig.load(tmp_path / "s.yaml")
    data = json.loads((tmp_path / "s.json").read_text())
    assert data["parameters"]["lr"]["min"] == 1e-05
    SweepConfig(data).save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "s.json").read_text()
    # Other endings leave it to what is read.
    for source, name in (("s.yaml", "s.txt"), ("e.py", "e.txt")):
        assert cli("convert", source, "-o", name, cwd=tmp_path).returncode == 0
    assert "tune.run(" in (tmp_path / "s.txt").read_text()
    assert (tmp_path / "e.txt").read_text().startswith("program: t.py")
    written(tmp_path, "inf.yaml", SWEEP + "note: .inf\n")
    done = cli("convert", "inf.yaml", "-o", "inf.json", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("error: inf.json: JSON has no infinity")) == (1, 1)
    assert not (tmp_path / "inf.json").exists()


@pytest.mark.parametrize(("name", "meant"), [("ray", "tune"), ("wandb", "sweep"), ("hp", "hyper")])
def test_other_names_of_notations_are_understood(tmp_path: Path, name: str, meant: str) -> None:
    written(tmp_path, "s.yaml", SWEEP)
    done = cli("convert", "s.yaml", "--to", name, cwd=tmp_path)
    assert (done.returncode, f"did you mean '{meant}" in done.stderr) == (2, True)


def test_the_seeds_example(tmp_path: Path) -> None:
    written(tmp_path, "seed.py", SEED)
    done = cli("convert", "seed.py", "-o", "out.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "carried: method: bayes is the nearest" in done.stderr
    config = SweepConfig.load(tmp_path / "out.yaml")
    assert config == SweepConfig.load(tmp_path / "sweep-hyperopt.yaml")
    assert config["parameters"]["activation"] == {
        "distribution": "categorical",
        "values": ["relu", "tanh"],
    }
    assert config.experiment.searcher.kind == "HyperOptSearch"


def test_there_and_back_through_programs(tmp_path: Path) -> None:
    written(tmp_path, "s.yaml", SWEEP)
    assert cli("convert", "s.yaml", "-o", "e.py", cwd=tmp_path).returncode == 0
    assert cli("convert", "e.py", "-o", "again.yaml", cwd=tmp_path).returncode == 0
    assert SweepConfig.load(tmp_path / "again.yaml") == SweepConfig.load(tmp_path / "s.yaml")
    shown = cli("convert", "s.yaml", "--to", "hyperopt", cwd=tmp_path)
    assert 'hp.loguniform("lr"' in shown.stdout


@pytest.mark.slow
def test_rays_own_run_and_fit_are_taken_not_run(tmp_path: Path) -> None:
    live = """
from ray import tune
def train(config): raise SystemExit("trained")
if __name__ == "__main__":
    {call}
    raise SystemExit("went on")
"""
    run = 'tune.run(train, config={"x": tune.uniform(0, 1)}, num_samples=4)'
    fit = (
        'tune.Tuner(train, param_space={"x": tune.uniform(0, 1)}, '
        "tune_config=tune.TuneConfig(num_samples=4)).fit()"
    )
    for index, call in enumerate((run, fit)):
        written(tmp_path, "live.py", live.format(call=call))
        done = cli("convert", "live.py", "-o", f"{index}.yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        config = SweepConfig.load(tmp_path / f"{index}.yaml")
        assert config["run_cap"] == 4
        assert config["parameters"]["x"]["distribution"] == "uniform"


@pytest.mark.parametrize(
    ("name", "text", "code", "words"),
    [
        ("s.yaml", "method: [", 1, "s.yaml:2:1: not YAML"),
        ("s.yaml", SWEEP.replace("0.1", "1e-9"), 1, "s.yaml:4:42: parameters.lr.min: min is not"),
        ("s.txt", SWEEP, 1, "s.txt: cannot tell what this file is"),
        ("e.py", "x = 1\n", 1, "e.py: the file builds no experiment"),
        ("e.py", "x = 1\nx + None\n", 1, "e.py:2: TypeError: unsupported operand"),
        ("e.py", "def f(:\n", 1, "e.py:1: SyntaxError"),
        ("e.py", "import sys; sys.exit(3)", 1, "called sys.exit(3)"),
        ("e.py", "import os; os._exit(3)", 1, "ended the interpreter"),
        ("e.py", "while True: pass", 1, "still running after 2 seconds"),
        (
            "e.py",
            TWO,
            1,
            "builds 2 experiments; found a, b",
        ),
        (
            "e.py",
            "from tune_bridge import tune\ntune.run('t.py', config={'x': tune.uniform(1, 0)})\n",
            1,
            "e.py:2: ",
        ),
        (
            "e.py",
            LAMBDA,
            1,
            "e.py:2: x: ",
        ),
    ],
)
def test_wrong_files_end_in_one_line(
    tmp_path: Path, name: str, text: str, code: int, words: str
) -> None:
    written(tmp_path, name, text)
    done = cli("convert", name, "--to", "sweep", "--timeout", "2", cwd=tmp_path)
    assert done.returncode == code
    assert done.stdout == ""
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_variable_can_be_chosen(tmp_path: Path) -> None:
    text = "from tune_bridge import tune\n" + "".join(
        f"{name} = tune.run('{name}.py', config={{'x': tune.uniform(0, 1)}})\n" for name in "ab"
    )
    written(tmp_path, "e.py", text)
    done = cli("convert", "e.py", "--object", "b", "-q", cwd=tmp_path)
    assert done.stdout.startswith("program: b.py")
    assert (
        "no experiment called 'c'" in cli("convert", "e.py", "--object", "c", cwd=tmp_path).stderr
    )


def test_usage_errors_end_with_2(tmp_path: Path) -> None:
    assert cli("convert", cwd=tmp_path).returncode == 2
    assert cli("convert", "x", "--what", cwd=tmp_path).returncode == 2
    assert cli("nothing", cwd=tmp_path).returncode == 2
    assert cli("convert", "missing.yaml", cwd=tmp_path).returncode == 1
    for option in ("--num-samples", "--max-concurrent", "--cpus-per-trial", "--gpus-per-trial"):
        done = cli("run", "x.yaml", option, "-1", cwd=tmp_path)
        assert (done.returncode, option in done.stderr) == (2, True)


def test_run_says_which_file_misses_its_program(tmp_path: Path) -> None:
    written(tmp_path, "s.yaml", SWEEP)
    done = cli("run", "s.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: s.yaml: program: the program does not exist; found train")
    assert done.stderr.count("\n") == 1


def test_a_word_that_holds_ray_loads_no_ray(tmp_path: Path) -> None:
    code = "import sys\nfrom tune_bridge import tune\n# an array\n" + TWO.splitlines()[2]
    written(tmp_path, "e.py", code + "\nprint('r' + 'ay' in sys.modules, file=sys.stderr)\n")
    assert cli("convert", "e.py", "-q", cwd=tmp_path).stderr == "False\n"


@pytest.mark.slow
def test_a_helper_that_fits_a_tuner_is_caught_too(tmp_path: Path) -> None:
    written(
        tmp_path,
        "helper.py",
        "from ray.tune import Tuner, uniform\n"
        "def train(config): raise SystemExit('trained')\n"
        "def go(): Tuner(train, param_space={'x': uniform(0, 1)}).fit()\n",
    )
    written(tmp_path, "e.py", "import helper\nhelper.go()\n")
    done = cli("convert", "e.py", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "distribution: uniform" in done.stdout


def test_what_was_built_before_sys_exit_counts(tmp_path: Path) -> None:
    text = "import sys\nfrom tune_bridge import tune\n" + TWO.splitlines()[2]
    written(tmp_path, "e.py", text + "\nsys.exit(0)\n")
    assert cli("convert", "e.py", "-q", cwd=tmp_path).stdout.startswith("program: t.py")
    written(tmp_path, "e.py", text + "\nsys.exit(3)\n")
    assert "called sys.exit(3)" in cli("convert", "e.py", cwd=tmp_path).stderr


def test_a_folder_is_no_missing_file(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    assert "a folder" in cli("convert", "folder.py", cwd=tmp_path).stderr


def test_unknown_notations_strictness_and_targets(tmp_path: Path) -> None:
    written(tmp_path, "s.yaml", SWEEP)
    done = cli("convert", "s.yaml", "--to", "hyperop", cwd=tmp_path)
    assert (done.returncode, "did you mean 'hyperopt'?" in done.stderr) == (2, True)
    done = cli("convert", "s.yaml", "-o", "no/such/folder.py", cwd=tmp_path)
    assert (done.returncode, "cannot write" in done.stderr) == (1, True)
    written(tmp_path, "seed.py", SEED)
    done = cli("convert", "seed.py", "--strict", cwd=tmp_path)
    assert (done.returncode, "(carried)" in done.stderr) == (1, True)


def test_json(tmp_path: Path) -> None:
    written(tmp_path, "seed.py", SEED)
    done = cli("convert", "seed.py", "--json", cwd=tmp_path)
    data = json.loads(done.stdout)
    assert data["to"] == "sweep"
    assert data["notes"][0]["level"] == "carried"
    assert SweepConfig.from_yaml(data["text"])["run_cap"] == 10


def test_explain(tmp_path: Path) -> None:
    written(tmp_path, "s.yaml", SWEEP)
    done = cli("explain", "s.yaml", cwd=tmp_path)
    assert done.returncode == 0
    assert "log_uniform_values" in done.stdout
    assert "tune.loguniform(1e-05, 0.1)" in done.stdout
    lines = json.loads(cli("explain", "s.yaml", "--json", cwd=tmp_path).stdout)
    assert lines[0]["path"] == "lr"
    assert lines[0]["ray"]["level"] == "exact"
    assert cli("explain", "missing.yaml", cwd=tmp_path).returncode == 1


def test_explain_requires_what_it_is_asked_to(tmp_path: Path) -> None:
    written(tmp_path, "seed.py", SEED)
    done = cli("explain", "seed.py", "--require", "exact", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == ("error: seed.py: searcher: approximated by wandb; expected exact\n")
    done = cli("explain", "seed.py", "--require", "approximated", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    narrowed = ("explain", "seed.py", "--for", "ray", "--require", "exact", "--json")
    done = cli(*narrowed, cwd=tmp_path)
    assert done.returncode == 0
    assert all("wandb" not in line for line in json.loads(done.stdout))
    assert cli("explain", "seed.py", "--for", "nobody", cwd=tmp_path).returncode == 2


def test_help_names_every_command(tmp_path: Path) -> None:
    shown = cli("--help", cwd=tmp_path).stdout
    assert "\\b" not in shown
    assert "..." not in shown.partition("Commands:")[2]
    for command in COMMANDS:
        assert command in shown
        done = cli(command, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert "\\b" not in done.stdout


def test_convert_of_a_yaml_loads_nothing_heavy(tmp_path: Path) -> None:
    written(tmp_path, "s.yaml", SWEEP)
    for command in ("['convert', 's.yaml', '--to', 'tune']", "['explain', 's.yaml', '--json']"):
        code = (
            "import sys\nfrom tune_bridge.cli.main import main\n"
            f"try: main({command})\nexcept SystemExit: pass\n"
            "heavy = ('ray', 'hyperopt', 'numpy', 'sqlalchemy', 'rich', 'dash', 'wandb')\n"
            "print([m for m in heavy if m in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.stderr.strip().splitlines()[-1] == "[]"


def test_a_sweep_file_loads_only_what_it_needs(tmp_path: Path) -> None:
    """A cold start is most of the time of a conversion."""
    written(tmp_path, "s.yaml", SWEEP)
    program = (
        "import sys\n"
        "from tune_bridge.cli.main import main\n"
        "try:\n"
        "    main(['convert', 's.yaml', '--to', 'sweep', '-q'])\n"
        "finally:\n"
        "    print(*sorted(sys.modules), sep='\\n', file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    loaded = set(done.stderr.split())
    assert "tune_bridge.dialects.sweep" in loaded
    heavy = ("lint", "explain", "dialects.hyperopt", "dialects.ray_tune", "server", "engines")
    assert not loaded & {f"tune_bridge.{name}" for name in heavy}
    assert not loaded & {"ray", "numpy", "rich", "wandb", "hyperopt", "asyncio"}
