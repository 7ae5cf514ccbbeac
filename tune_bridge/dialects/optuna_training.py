"""Where an objective stops suggesting and starts to train: that part is not executed.

Nothing can be suggested once the trial is mentioned no more, and nobody else has kept it. So the
source says after which line the rest of the function is training, and the number of references to
the trial whether it was given away.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
import types
from collections.abc import Callable
from typing import Any

__all__ = ["last_line", "until_training"]

_TALK = ("report", "should_prune", "set_user_attr", "set_system_attr", "number", "params")
"""What an objective says to a trial, or asks of it, while it trains."""

_LATER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.GeneratorExp)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def until_training(
    objective: Callable[[Any], Any], over: type[BaseException]
) -> Callable[..., Any]:
    """An objective that ends where it would begin to train.

    Args:
        objective: Takes a trial.
        over: Is raised there.

    Returns:
        The same function where the source does not say where that is.
    """
    plain = inspect.unwrap(objective)
    while isinstance(plain, functools.partial | types.MethodType):
        plain = plain.func if isinstance(plain, functools.partial) else plain.__func__
    if not isinstance(plain, types.FunctionType | type):
        plain = vars(type(plain)).get("__call__", plain)  # an object that is called
    line = last_line(plain) if isinstance(plain, types.FunctionType) else None
    if line is None:
        return objective
    code = plain.__code__

    def suggests(trial: Any) -> Any:
        had = 0

        def in_it(frame: types.FrameType, event: str, argument: Any) -> Any:
            if event == "line" and frame.f_lineno > line and sys.getrefcount(trial) <= had:
                raise over
            return in_it

        def outside(frame: types.FrameType, event: str, argument: Any) -> Any:
            nonlocal had
            if frame.f_code is not code:
                return None
            had = had or sys.getrefcount(trial)
            return in_it

        before = sys.gettrace()
        sys.settrace(outside)
        try:
            return objective(trial)
        finally:
            sys.settrace(before)

    return suggests


def last_line(function: types.FunctionType) -> int | None:
    """The last line of the statements that mention the trial, a function's first parameter.

    A loop that mentions it counts to its end.

    Returns:
        None where it cannot be told: no source, or the trial is used by something that is called
        later.
    """
    try:
        lines, first = inspect.getsourcelines(function)
        [body] = ast.parse(textwrap.dedent("".join(lines))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    if not isinstance(body, ast.FunctionDef):
        return None
    names = [argument.arg for argument in (*body.args.posonlyargs, *body.args.args)]
    names = names[1:] if names[:1] == ["self"] else names
    if not names:
        return None
    ends = [_end(statement, names[0]) for statement in body.body]
    if None in ends:
        return None
    last = max((end for end in ends if end is not None), default=0)
    return first - 1 + last if last else None


def _end(node: ast.stmt, trial: str) -> int | None:
    """The last line of what mentions the trial; 0 without any, None where it may be used later."""
    inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    if isinstance(node, ast.Try):
        inner += [statement for handler in node.handlers for statement in handler.body]
    if isinstance(node, ast.Match):
        inner += [statement for case in node.cases for statement in case.body]
    if not _mentions(node, trial):
        return 0
    if isinstance(node, _LATER) or any(
        isinstance(part, _LATER) and _mentions(part, trial) for part in ast.walk(node)
    ):
        return None
    end = node.end_lineno or 0
    if isinstance(node, _LOOPS) or not inner:
        return end
    found = [_end(statement, trial) for statement in inner]
    if None in found:
        return None
    # The head of a compound statement: what it asks, or opens.
    head = inner[0].lineno - 1 if inner else end
    return max(head, *(line for line in found if line is not None))


def _mentions(node: ast.AST, trial: str) -> bool:
    """Whether something but talk about training is said to the trial; a copy of it is a mention."""
    talk = {
        id(part.value)
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and part.attr in _TALK
    }
    return any(
        isinstance(part, ast.Name) and part.id == trial and id(part) not in talk
        for part in ast.walk(node)
    )
