"""A Python program that searches with HyperOpt itself."""

from __future__ import annotations

from typing import Any

from tune_bridge.dialects.calls import Call, Signature
from tune_bridge.dialects.hyperopt.fmin import TPE_ARGUMENTS
from tune_bridge.dialects.hyperopt.points import to_labels
from tune_bridge.dialects.hyperopt.signatures import SIGNATURES
from tune_bridge.dialects.python_source import Program, quote
from tune_bridge.dialects.sweep.keys import grid_size
from tune_bridge.experiment import RANDOM, Experiment
from tune_bridge.notes import Notes

__all__ = ["write_program"]

_RUN = '''
def objective(config):
    """Runs {program} and takes the last line that it prints as {metric}."""{name}
    arguments = [f"--{{name}}={{value}}" for name, value in config.items()]
    command = [sys.executable, {literal}, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {sign}float(done.stdout.split()[-1])
'''

_OWN = '''
def objective(config):
    """Takes a configuration and returns the loss, which HyperOpt minimises."""
    raise NotImplementedError("train with the configuration and return the loss")
'''

_UNSAID = (
    ("scheduler", "fmin stops no trial early"),
    ("stop", "fmin has no stop criteria; let the objective stop"),
    ("max_concurrent", "fmin runs one trial at a time"),
    ("resources", "fmin knows no resources"),
    ("command", "the objective starts the program with --name=value arguments"),
    ("extras", "they belong to another notation"),
)


def write_program(experiment: Experiment, space: Any, notes: Notes) -> Program:
    """Writes the program of an experiment whose space is written already.

    Args:
        experiment: What to search.
        space: Its space as calls; what is shared becomes a variable.
        notes: Where remarks go.
    """
    for name, why in _UNSAID:
        if getattr(experiment, name):
            notes.approximated(name, "left out", why)
    program = Program(f"Searches with HyperOpt{_for(experiment)}.")
    program.share(space, ("best", "config", "functools", "objective", "space"))
    program.assign("space", space)
    objective = _objective(experiment, program)
    fmin = program.text(_fmin(experiment, objective, notes), indent=4, used=len("best = "))
    program.add(f'if __name__ == "__main__":\n    best = {fmin}\n    print(best)')
    return program


def _for(experiment: Experiment) -> str:
    what = experiment.program or experiment.trainable
    return f" for {what}" if what else ""


def _objective(experiment: Experiment, program: Program) -> Signature:
    """Defines or imports the function that `fmin` calls."""
    if experiment.trainable and ":" in experiment.trainable and not experiment.program:
        module, _, name = experiment.trainable.partition(":")
        if module != "__main__":
            return Signature(name, module, "config")
    if experiment.program:
        program.import_module("subprocess")
        program.import_module("sys")
        goal = experiment.objective
        text = _RUN.format(
            program=experiment.program,
            literal=quote(experiment.program),
            metric=goal.name if goal else "the loss",
            name=f'\n    config = {{"{experiment.root}": config}}' if experiment.root else "",
            sign="-" if goal and goal.goal == "maximize" else "",
        )
    else:
        text = _OWN
    program.define(text)
    return Signature("objective", "__main__", "config")


def _fmin(experiment: Experiment, objective: Signature, notes: Notes) -> Call:
    arguments: dict[str, Any] = {"fn": objective, "space": Signature("space", "__main__", "")}
    arguments["algo"] = _algorithm(experiment, notes)
    samples = experiment.num_samples
    # A grid is sampled here; as many draws as it has cells are the nearest to trying each once.
    total = None if samples is None else samples * grid_size(experiment)
    limits = [n for n in (total, experiment.run_cap) if n is not None]
    if limits:
        arguments["max_evals"] = min(limits)
    if experiment.seed is not None:
        arguments["rstate"] = SIGNATURES["random.default_rng"].call(experiment.seed)
    if experiment.points:
        points = [point.value for point in experiment.points]
        arguments["points_to_evaluate"] = [
            to_labels(point, experiment.space, values_on_top=False) for point in points
        ]
    return Call(SIGNATURES["fmin"], arguments)


def _algorithm(experiment: Experiment, notes: Notes) -> Any:
    searcher = experiment.searcher
    if searcher.kind == RANDOM.kind:
        if searcher.arg("unique", False):
            notes.approximated(
                "searcher.unique", "draws may come twice", "HyperOpt draws with replacement"
            )
        return SIGNATURES["rand.suggest"]
    if searcher.kind != "HyperOptSearch":
        notes.approximated(
            "searcher", f"{searcher.kind} as tpe.suggest", "HyperOpt has its own searchers"
        )
        return SIGNATURES["tpe.suggest"]
    given, names = searcher.args.value, TPE_ARGUMENTS
    keywords = {names[name]: value for name, value in given.items() if name in names}
    if not keywords:
        return SIGNATURES["tpe.suggest"]
    tpe = {"func": SIGNATURES["tpe.suggest"], "keywords": keywords}
    return Call(SIGNATURES["partial"], tpe)
