"""A run as a call of a function in this process."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tune_bridge import client
from tune_bridge.agents.execution import Execution
from tune_bridge.agents.leaving import Leave, left
from tune_bridge.client import Config, Link, RunStopped
from tune_bridge.errors import TuneBridgeError
from tune_bridge.reports import PAYLOAD, Reports
from tune_bridge.values import encode
from tune_bridge.wire import End

__all__ = ["run_function"]


_PACKAGE = Path(client.__file__).parent


class _Direct(Link):
    """Reports of a function, straight to the server.

    Args:
        execution: The attempt.
        metric: What the sweep optimises, or None.
        stopping: Whether the agent itself is to end.
    """

    raises = True

    def __init__(
        self, execution: Execution, metric: str | None, stopping: Callable[[], Leave]
    ) -> None:
        self.reports = Reports(metric)
        self.about = {
            **execution.about,
            "config": encode(execution.claim.config),
            "checkpoint_dir": str(execution.checkpoint_dir),
        }
        self._execution = execution
        self._stopping = stopping
        self._closing = False

    def send(self, message: dict[str, Any]) -> bool:
        """Delivers a message; whether the function is to end.

        Raises:
            TuneBridgeError: The server refuses it.
        """
        reports, result = self.reports, None
        if "log" in message:
            self.about["first_step"] = message["step"] + 1  # of a run that begins once more
            result = reports.log(message["log"], message["step"], message["time"])
        elif "config" in message:
            reports.configure(message["config"])
        elif "summary" in message:
            result = reports.summarise(message["summary"])
        elif "resumable" in message:
            reports.resumable = True
        if result is not None:
            self._execution.report(result[PAYLOAD], resumable=reports.resumable)
        return not self._closing and (
            bool(self._stopping()) or self._execution.verdict.kind != "continue"
        )

    def close(self, exit_code: int) -> None:
        """Delivers what is left; the agent says how the function ended."""
        if self.reports.waiting:
            self._execution.report(self.reports.take(), resumable=self.reports.resumable)

    def end(self, *, settled: bool) -> None:
        """Ends the run, and delivers what the function has saved and left in its summary.

        Args:
            settled: It was told to end, and what it has saved is whole.
        """
        self._closing = True
        run = client.current()
        if run is not None and run.active:
            run.finish()
        else:
            self.close(0)
        if settled:
            self._execution.report({"rows": []}, resumable=self.reports.resumable)


def run_function(
    execution: Execution,
    function: Callable[..., Any],
    metric: str | None,
    stopping: Callable[[], Leave],
) -> End:
    """Calls a function for a run.

    A function without parameters calls `tune_bridge.init` for its config, and what it returns is
    left alone, as with W&B. One with a parameter is given the config, and what it returns, a number
    or a dict, is its (last) result, as with Ray Tune and HyperOpt.

    Args:
        execution: The attempt.
        function: What is run.
        metric: What the sweep optimises, or None.
        stopping: Says "preempt", "stop" or "kill" when the agent itself is to end, else "".

    Returns:
        How it ended.
    """
    attempt = execution.claim.attempt
    link = _Direct(execution, metric, stopping)
    client.attach(link)
    try:
        arguments = _arguments(function, execution.claim.config)
        returned = function(*arguments)
        if arguments:
            _keep(returned, metric)
        link.end(settled=False)
    except RunStopped:
        with contextlib.suppress(TuneBridgeError):
            link.end(settled=True)
        leave = stopping()
        return left(attempt, leave) if leave else End(attempt, "killed", execution.verdict.reason)
    except BaseException as error:  # noqa: BLE001 - whatever a user's function raises
        with contextlib.suppress(TuneBridgeError):
            link.end(settled=False)
        if not isinstance(error, SystemExit) or error.code not in (None, 0):
            return End(attempt, "failed", _why(error))
    finally:
        client.attach(None)
    # A run that goes on from a checkpoint may have had everything to say before.
    complaint = link.reports.complaint() if metric is not None and attempt == 1 else ""
    return End(attempt, "finished", complaint, 0)


def _arguments(function: Callable[..., Any], config: Mapping[str, Any]) -> list[Any]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    needed = [
        parameter
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return [Config(config)] if needed else []


def _keep(returned: Any, metric: str | None) -> None:
    if isinstance(returned, Mapping):
        client.init().log(returned)
    elif metric and returned is not None and not isinstance(returned, bool | str):
        client.init().log({metric: returned})


def _why(error: BaseException) -> str:
    """What was raised, where in the user's code, and the way there."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _ours(frame)]
    where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    lines = "".join(traceback.format_exception(error)).rstrip()
    return f"{type(error).__name__}: {error}{where}\n{lines}"


def _ours(frame: traceback.FrameSummary) -> bool:
    return Path(frame.filename).is_relative_to(_PACKAGE)
