"""HyperOptSearch: ``hp`` parameters with our laws, conditions nested, points by their labels.

Ray's own conversion of a config moves the ends of integer ranges, makes tuples of lists and fails
on a name in two options; its handling of nested initial points hangs or mixes up options. Neither
is used: the space is written by our HyperOpt dialect, and HyperOpt is told the points itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hyperopt import JOB_STATE_DONE
from hyperopt.fmin import generate_trial, generate_trials_to_calculate
from ray.tune.search.hyperopt import HyperOptSearch

from tune_bridge.dialects.calls import build
from tune_bridge.dialects.hyperopt.writer import write_space
from tune_bridge.engines.tune.searchers.codec import FlatSpace
from tune_bridge.engines.tune.searchers.hosting import Mended, Plan
from tune_bridge.notes import Notes
from tune_bridge.space import Choice, Constant, Group, Node, Operation, Parameter, Sequence, Uniform

__all__ = ["HostedHyperOpt", "make"]


class HostedHyperOpt(Mended, HyperOptSearch):
    """Answers with the values by label, and with indices for choices."""

    flat: FlatSpace
    _points_to_evaluate: Any

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """What HyperOpt drew; labels of other branches are left out."""
        super().suggest(trial_id)
        values = self._live_trial_mapping[trial_id][1]["misc"]["vals"]
        return {label: drawn[0] for label, drawn in values.items() if len(drawn)}

    def start_with(self, points: list[dict[str, Any]]) -> None:
        """Has points tried first, as Ray does: HyperOpt takes the last of them first."""
        if points:
            self._hpopt_trials = generate_trials_to_calculate(points[::-1])
            for document in self._hpopt_trials._dynamic_trials:
                self._complete(document)
            self._hpopt_trials.refresh()
            self._points_to_evaluate = len(points)

    def _complete(self, document: dict[str, Any]) -> None:
        """Labels that are not drawn have no values."""
        for label in self.flat.knobs:
            document["misc"]["idxs"].setdefault(label, [])
            document["misc"]["vals"].setdefault(label, [])

    def learn(self, values: dict[str, Any], result: Mapping[str, Any]) -> None:
        """Adds a finished trial."""
        document = generate_trial(self._hpopt_trials.new_trial_ids(1)[0], self.flat.active(values))
        self._complete(document)
        document["state"] = JOB_STATE_DONE
        document["result"] = self._to_hyperopt_result(dict(result))
        self._hpopt_trials.insert_trial_docs([document])
        self._hpopt_trials.refresh()


def make(plan: Plan) -> HostedHyperOpt:
    """The searcher of a plan."""
    tree = _carried(plan.space.space, "", plan.space)
    assert isinstance(tree, Group)
    searcher = HostedHyperOpt(
        space=build(write_space(tree, Notes())),
        random_state_seed=plan.seed,
        **plan.goal,
        **plan.args,
    )
    searcher.flat = plan.space
    searcher.start_with([plan.space.active(point) for point in plan.points])
    return searcher


def _carried(node: Node, path: str, space: FlatSpace) -> Node:
    """The tree as HyperOpt sees it: what is searched, under its label; options by index."""
    if isinstance(node, Group):
        named = (
            (name, _carried(child, f"{path}.{name}" if path else name, space))
            for name, child in node.items
        )
        return Group(tuple((name, child) for name, child in named if not _empty(child)))
    if isinstance(node, Sequence):
        return Sequence(
            tuple(_carried(item, f"{path}[{i}]", space) for i, item in enumerate(node.items))
        )
    if isinstance(node, Operation):
        items = [_carried(x, f"{path}{where}", space) for where, x in node.arguments]
        return Sequence(tuple(items))
    if isinstance(node, Constant):
        return Constant.of(0)
    knob = space.by_path.get(path)
    if isinstance(node, Choice):
        options = [_carried(o, f"{path}[{i}]", space) for i, o in enumerate(node.options)]
        if knob is None:
            return options[0]
        options = [Constant.of(i) if _empty(o) else o for i, o in enumerate(options)]
        return Choice(tuple(options), knob.form.weights, label=knob.name, shared=node.shared)
    if knob is None:
        return Constant.of(0)
    form = knob.form
    law = node.distribution
    if form.kind == "float":
        law = Uniform(form.low, form.high, "log" if form.log else "linear")
    return Parameter(law, label=knob.name, shared=node.shared)


def _empty(node: Node) -> bool:
    return isinstance(node, Constant) or (isinstance(node, Group) and not node.items)
