"""Files of the further notations, from and to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from optuna.distributions import CategoricalDistribution, FloatDistribution

space = {
    "lr": FloatDistribution(1e-05, 0.1, log=True),
    "act": CategoricalDistribution(["relu", "tanh"]),
}
"""


def bridge(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from tune_bridge.cli.main import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_python_file_there_and_back(tmp_path: Path) -> None:
    program, sweep = tmp_path / "space.py", tmp_path / "sweep.yaml"
    program.write_text(PROGRAM)
    done = bridge("convert", program, "--from", "optuna", "-o", sweep)
    assert done.returncode == 0, done.stderr
    back = bridge("convert", sweep, "--to", "optuna", "-q")
    assert PROGRAM.strip() in back.stdout


def test_json_of_another_notation(tmp_path: Path) -> None:
    source = tmp_path / "ax.json"
    source.write_text('[{"name": "lr", "type": "range", "bounds": [0.1, 1.0]}]')
    done = bridge("convert", source, "--from", "ax", "--to", "bayesopt")
    assert done.returncode == 0, done.stderr
    assert '"lr": (0.1, 1.0)' in done.stdout
    assert '"path": "lr"' in bridge("explain", source, "--from", "ax", "--json").stdout


def test_a_variable_that_is_not_there(tmp_path: Path) -> None:
    program = tmp_path / "space.py"
    program.write_text("x = 1\n")
    done = bridge("convert", program, "--from", "optuna", "--object", "nope")
    assert done.returncode == 1
    assert "no variable called 'nope'" in done.stderr


def test_a_missing_library_names_its_extra(tmp_path: Path) -> None:
    source = tmp_path / "space.py"
    # What import does where there is no such package.
    source.write_text(
        "import sys\n"
        "sys.modules['optuna'] = None\n"
        "from optuna.distributions import FloatDistribution\n"
        "space = {'x': FloatDistribution(0, 1)}\n"
    )
    result = bridge("convert", source, "--from", "optuna")
    assert result.returncode == 1
    assert "pip install 'tune-bridge[optuna]'" in result.stderr
