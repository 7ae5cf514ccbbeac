"""The command line: a table of commands, each loaded when it is called."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from tune_bridge import __version__
from tune_bridge.errors import TuneBridgeError

__all__ = ["cli", "main"]

COMMANDS = {
    "convert": "tune_bridge.cli.convert:convert",
    "explain": "tune_bridge.cli.explain:explain",
    "lint": "tune_bridge.cli.lint:lint",
    "sample": "tune_bridge.cli.sample:sample",
    "diff": "tune_bridge.cli.compare:diff",
    "verify": "tune_bridge.cli.compare:verify",
    "run": "tune_bridge.cli.run:run",
    "server": "tune_bridge.cli.server:server",
    "key": "tune_bridge.cli.key:key",
    "sweep": "tune_bridge.cli.sweep:sweep",
    "agent": "tune_bridge.cli.agent:agent",
    "ls": "tune_bridge.cli.ls:ls",
    "status": "tune_bridge.cli.ls:status",
    "best": "tune_bridge.cli.ls:best",
    "events": "tune_bridge.cli.ls:events",
    "bundle": "tune_bridge.cli.bundle:bundle",
    "policy": "tune_bridge.cli.policy:policy",
    "sync": "tune_bridge.cli.sync:sync",
    "adopt": "tune_bridge.cli.adopt:adopt",
    "stop": "tune_bridge.cli.control:stop",
    "pause": "tune_bridge.cli.control:pause",
    "resume": "tune_bridge.cli.control:resume",
    "cancel": "tune_bridge.cli.control:cancel",
    "retry": "tune_bridge.cli.control:retry",
    "enqueue": "tune_bridge.cli.control:enqueue",
    "run-cap": "tune_bridge.cli.control:run_cap",
    "concurrency": "tune_bridge.cli.control:concurrency",
    "release": "tune_bridge.cli.control:release",
    "controller": "tune_bridge.cli.wandb_controller:controller",
    "push": "tune_bridge.cli.transfer:push",
    "pull": "tune_bridge.cli.transfer:pull",
    "dashboard": "tune_bridge.cli.dashboard:dashboard",
}
"""Command -> ``module:click command``."""


@contextlib.contextmanager
def _pipes() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _NobodyReadsError from error


class _NobodyReadsError(Exception):
    """The output is closed; click would make exit code 1 of a BrokenPipeError."""


class _LazyGroup(click.Group):
    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _pipes():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _pipes():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        target = COMMANDS.get(name)
        if target is None:
            from tune_bridge.dialects.base import suggest

            near = suggest(name, list(COMMANDS))
            ctx.fail(f"No such command {name!r}." + (f" ({near})" if near else ""))
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="tune-bridge")
def cli() -> None:
    """The bridge between Ray Tune and W&B Sweeps.

    Translate a Tune experiment or a HyperOpt space into a sweep and back, see what each side makes
    of it, run it on Ray and watch it in a dashboard - with no account and no internet.

    \b
      tune-bridge convert experiment.py -o sweep.yaml
      tune-bridge explain sweep.yaml
      tune-bridge run sweep.yaml
      tune-bridge sweep sweep.yaml && tune-bridge agent ID
      tune-bridge dashboard

    Exit codes: 0 done, 1 the input has to be changed (the message says where), 2 wrong usage.
    """


def main(argv: list[str] | None = None) -> None:
    """Runs the command line.

    Every `TuneBridgeError` becomes one line on standard error and exit code 1. With ``--json`` an
    error is a JSON object on standard output as well. Nobody who reads the output to its end
    (``| head``) is no error.
    """
    _open_streams()
    given = sys.argv[1:] if argv is None else argv
    own = given[: given.index("--")] if "--" in given else given
    as_json = "--json" in own
    try:
        result: Any = cli.main(args=argv, standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        _say("interrupted")
        sys.exit(130)
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        _fail(as_json, error.exit_code, {"message": error.format_message()})
    except TuneBridgeError as error:
        _say(f"error: {error}")
        fields = {key: value for key, value in vars(error).items() if value not in ("", None)}
        _fail(as_json, 1, {"message": str(error), **fields})
    except RecursionError:
        _say("error: nested too deeply")
        _fail(as_json, 1, {"message": "nested too deeply"})
    except (_NobodyReadsError, BrokenPipeError):
        _forget_output()
        sys.exit(0)
    except OSError as error:
        if error.filename is None:
            _say(f"error: cannot write the output: {error.strerror}")
            _forget_output()
            sys.exit(1)
        message = f"{error.filename}: {error.strerror}"
        _say(f"error: {message}")
        _fail(as_json, 1, {"message": message})
    sys.exit(result if isinstance(result, int) else 0)


def _open_streams() -> None:
    """Opens what the shell has closed (``>&-``): Python has None then, and no file may get 1."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                os.fstat(number)
                continue
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _forget_output(stream: Any = None) -> None:
    """Python flushes at its end, and must not complain then about an output that is closed."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def _say(text: str) -> None:
    try:
        click.echo(text, err=True)
        sys.stderr.flush()
    except OSError:  # a full disk behind standard error: the code says it
        _forget_output(sys.stderr)


def _fail(as_json: bool, code: int, error: dict[str, Any]) -> NoReturn:
    if as_json:
        import json

        try:
            click.echo(json.dumps({"error": error}, indent=2, default=str))
            sys.stdout.flush()
        except OSError:
            _forget_output()
    sys.exit(code)
