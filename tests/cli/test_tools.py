"""lint, sample, diff and verify from the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from tests.cli.test_convert import SEED, SWEEP, cli, written


def test_lint(tmp_path: Path) -> None:
    sweep = SWEEP.replace("1e-5", "1.0e-5")
    written(tmp_path, "s.yaml", sweep)
    assert cli("lint", "s.yaml", cwd=tmp_path).returncode == 0
    written(tmp_path, "bad.yaml", sweep + "metric: {name: accuracy}\n")
    done = cli("lint", "s.yaml", "bad.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith(
        "bad.yaml:6:1: metric.goal: accuracy is to be minimized - is goal"
    )
    assert cli("lint", "bad.yaml", "--ignore", "goal", cwd=tmp_path).returncode == 0
    data = json.loads(cli("lint", "bad.yaml", "--json", cwd=tmp_path).stdout)
    assert (data[0]["rule"], data[0]["line"]) == ("goal", 6)
    assert cli("lint", cwd=tmp_path).returncode == 2


def test_lint_says_what_is_wrong_with_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    written(tmp_path, "method.yaml", SWEEP.replace("method", "metod"))
    written(tmp_path, "syntax.yaml", "a: [\n")
    written(tmp_path, "list.yaml", "- a\n")
    written(tmp_path, "spaces.py", "print('nothing')\n")
    names = ("method.yaml", "syntax.yaml", "list.yaml", "spaces.py")
    done = cli("lint", *names, "--ignore", "text-number", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (1, 5)
    assert lines[0].startswith("method.yaml:2:1: metod: W&B knows no such key, and ignores it")
    assert lines[1].startswith("method.yaml:1:1: method: a sweep without method; found program")
    assert lines[2].startswith("syntax.yaml:2:1: not YAML: ")
    assert lines[3].startswith("list.yaml:1:1: not a sweep; found a list")
    assert lines[4].startswith("spaces.py")
    assert all(line.endswith("]") for line in lines)
    done = cli("lint", "list.yaml", "missing.yaml", "syntax.yaml", cwd=tmp_path)
    assert done.stderr.startswith("error: missing.yaml: ")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "list.yaml",
        "syntax.yaml",
    ]
    done = cli("lint", "list.yaml", "missing.yaml", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["error"]["source"] == "missing.yaml"


def test_lint_reads_numbers_as_wandb_does(tmp_path: Path) -> None:
    written(tmp_path, "s.yaml", SWEEP)
    done = cli("lint", "s.yaml", cwd=tmp_path)
    assert done.stdout == (
        "s.yaml:4:42: parameters.lr.min: W&B's YAML reader takes 1e-5 for text - write 1.0e-05 "
        "[text-number]\n"
    )


def test_a_hint_is_no_mistake(tmp_path: Path) -> None:
    endless = SWEEP.replace("1e-5", "1.0e-5").replace("run_cap: 20", "name: endless")
    written(tmp_path, "s.yaml", endless)
    done = cli("lint", "s.yaml", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.endswith("add run_cap [hint: no-end]\n")


def test_sample(tmp_path: Path) -> None:
    written(tmp_path, "s.yaml", SWEEP)
    one, two = (cli("sample", "s.yaml", "-n", 30, "--seed", 1, cwd=tmp_path) for _ in range(2))
    assert one.stdout == two.stdout
    drawn = [json.loads(line) for line in one.stdout.splitlines()]
    assert len(drawn) == 30
    assert all(1e-5 <= configuration["lr"] <= 0.1 for configuration in drawn)
    table = csv.DictReader(
        io.StringIO(cli("sample", "s.yaml", "--format", "csv", cwd=tmp_path).stdout)
    )
    assert len([float(row["lr"]) for row in table]) == 10


CONDITIONS = """
from tune_bridge import tune
tune.run("t.py", num_samples=9, config={
    "c": 3,
    "opt": tune.choice([{"name": "sgd", "momentum": tune.uniform(0, 1)}, {"name": "adam"}, None]),
})
"""


def test_sample_of_conditions_and_grids(tmp_path: Path) -> None:
    written(tmp_path, "c.py", CONDITIONS)
    done = cli("sample", "c.py", "-n", 40, "--format", "csv", "--seed", 3, cwd=tmp_path)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 40
    assert set(rows[0]) == {"c", "opt", "opt.name", "opt.momentum"}
    for row in rows:
        # The active branch alone; a plain option stands under the choice's own name.
        assert (row["opt.momentum"] != "") == (row["opt.name"] == "sgd")
        assert (row["opt"] == "null") == (row["opt.name"] == "")
        assert row["c"] == "3"
    grid = "method: grid\nparameters: {a: {values: [1, 2]}, b: {values: [x, y, z]}}\n"
    written(tmp_path, "g.yaml", grid)
    done = cli("sample", "g.yaml", "-n", 50, cwd=tmp_path)
    assert [tuple(json.loads(line).values()) for line in done.stdout.splitlines()] == [
        (a, b) for a in (1, 2) for b in "xyz"
    ]
    assert cli("sample", "g.yaml", "-n", 0, cwd=tmp_path).returncode == 2


def test_diff_and_verify(tmp_path: Path) -> None:
    written(tmp_path, "a.yaml", SWEEP)
    written(tmp_path, "b.yaml", SWEEP.replace("0.1}", "1}"))
    done = cli("diff", "a.yaml", "b.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("lr: widened above by 10x (log_uniform_values min 1e-05")
    assert cli("diff", "a.yaml", "a.yaml", cwd=tmp_path).returncode == 0
    assert (
        json.loads(cli("diff", "a.yaml", "b.yaml", "--json", cwd=tmp_path).stdout)[0]["distance"]
        > 0.1
    )
    done = cli("verify", "a.yaml", "b.yaml", cwd=tmp_path)
    assert (done.returncode, "not the same experiment" in done.stdout) == (1, True)


def test_a_translation_verifies_against_its_source(tmp_path: Path) -> None:
    written(tmp_path, "seed.py", SEED)
    assert cli("convert", "seed.py", "-o", "s.yaml", cwd=tmp_path).returncode == 0
    done = cli("verify", "seed.py", "s.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "the same experiment")
