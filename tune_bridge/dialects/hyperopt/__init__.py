"""The HyperOpt dialect: spaces of ``hp`` parameters, and calls of ``fmin``.

HyperOpt minimises what its objective returns, which it calls "loss"; a space alone is therefore
read as a search by TPE for the smallest ``loss``, without a limit.
"""

from __future__ import annotations

from typing import Any

from tune_bridge.dialects.base import Dialect, Translation
from tune_bridge.dialects.calls import Call
from tune_bridge.dialects.hyperopt.fmin import TPE, read_fmin
from tune_bridge.dialects.hyperopt.program import write_program
from tune_bridge.dialects.hyperopt.reader import LEAVES
from tune_bridge.dialects.hyperopt.writer import write_space
from tune_bridge.dialects.python_space import TreeReader
from tune_bridge.experiment import Experiment, Objective
from tune_bridge.garbage import no_collection
from tune_bridge.notes import Notes
from tune_bridge.space import Sequence, check_executable, walk

__all__ = ["HyperOptDialect"]


class HyperOptDialect(Dialect):
    """Spaces of ``hp`` parameters: recorded calls, live graphs and constants in any mix."""

    name = "hyperopt"
    suffixes = (".py",)

    @no_collection()
    def read(self, source: Any, notes: Notes | None = None) -> Translation[Experiment]:
        """Reads a space, or a recorded call of ``fmin``.

        Args:
            source: A dict of parameters and constants, possibly nested; a choice, a list, a tuple
                or an operation that is the whole space; or a `Call` of ``fmin``.
            notes: Where remarks go; a new list by default.

        Raises:
            SpecError: A parameter is malformed; the message names its place.
            UnsupportedError: An operation on objects, or an object in it.
        """
        notes = Notes() if notes is None else notes
        call = source if isinstance(source, Call) and source.name == "fmin" else None
        source = source if call is None else call.get("space")
        space, root = TreeReader(LEAVES, notes).whole(source)
        check_executable(space)
        for place in walk(space):
            if isinstance(place.node, Sequence) and place.node.kind == "list":
                notes.exact(
                    place.path, "a list stays a list", "HyperOpt itself makes a tuple of it"
                )
        if call is not None:
            return Translation(read_fmin(call, space, notes).replace(root=root), notes)
        experiment = Experiment(
            space=space,
            root=root,
            objective=Objective("loss"),
            searcher=TPE,
            num_samples=None,
            space_in="searcher",
        )
        return Translation(experiment, notes)

    @no_collection()
    def write(self, experiment: Experiment) -> Translation[Any]:
        """Writes the space: a dict of ``hp`` calls and constants, or for a root what it was.

        Raises:
            SpecError: A mapping that Ray would execute, or two parameters of one label.
            UnsupportedError: A value that a function of the configuration makes.
        """
        check_executable(experiment.space)
        notes = Notes()
        space = write_space(experiment.space, notes)
        whole = space if experiment.root is None else space[experiment.root]
        return Translation(whole, notes)

    @no_collection()
    def source(self, experiment: Experiment) -> Translation[str]:
        """Writes a program with the space and a call of ``fmin``.

        Raises:
            SpecError: A mapping that Ray would execute, or two parameters of one label.
        """
        written = self.write(experiment)
        program = write_program(experiment, written.value, written.notes)
        return Translation(str(program), written.notes)
