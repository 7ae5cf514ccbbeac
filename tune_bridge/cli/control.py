"""What people say to a sweep that agents run: stop, pause, resume, retry, enqueue, ..."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from tune_bridge.agents.http import Server
from tune_bridge.cli.options import MOST, TEXT
from tune_bridge.cli.place import Where, id_of, place_options
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.files import read_bytes
from tune_bridge.wire import Command, Verb

__all__ = [
    "cancel",
    "concurrency",
    "enqueue",
    "pause",
    "release",
    "resume",
    "retry",
    "run_cap",
    "stop",
]

_json = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


class _Limit(click.ParamType[int]):
    """A number, or "none" for no limit (0, which cannot be given)."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "none":
            return 0
        if not str(value).isdecimal() or not 1 <= int(value) <= MOST:
            self.fail(
                f"{value!r} is neither a whole number from 1 to {MOST} nor 'none'.", param, ctx
            )
        return int(value)


def _say(server: Server, sweep: str, verb: Verb, **args: Any) -> Any:
    return server.command(sweep, Command(verb, args))


def _told(as_json: bool, text: str, **data: Any) -> int:
    click.echo(json.dumps(data, indent=2) if as_json else text)
    return 0


def _simple(verb: Verb, help_: str, said: str) -> Any:
    """A command without arguments of its own."""

    def command(where: Where, sweep: str, as_json: bool) -> int:
        sweep_id = id_of(sweep)
        _say(where.connect(), sweep_id, verb)
        return _told(as_json, f"sweep {sweep_id} {said}", sweep=sweep_id, verb=verb)

    command.__doc__ = help_
    decorated: Callable[..., Any] = _json(place_options(command))
    short = help_.splitlines()[0]
    return click.command(verb, short_help=short)(click.argument("sweep", type=TEXT)(decorated))


pause = _simple(
    "pause",
    "Give out no more runs until `resume`; the running ones go on.",
    "is paused; its running runs go on",
)
resume = _simple("resume", "Give out runs again.", "gives out runs again")
cancel = _simple("cancel", "End a sweep and all of its runs now.", "is canceled")


@click.command(short_help="Let the running runs finish, and end the sweep; or end one run.")
@click.argument("sweep", type=TEXT, metavar="SWEEP[/RUN]")
@place_options
@_json
def stop(where: Where, sweep: str, as_json: bool) -> int:
    """Ends SWEEP when its running runs have finished; or ends one run now, its results count.

    \b
      tune-bridge stop 3f9c2d1a
      tune-bridge stop 3f9c2d1a/x7k2m9qp
    """
    server = where.connect()
    rest, _, last = sweep.rstrip("/").rpartition("/")
    run = _run_of(server, id_of(rest), last) if rest else None
    if run is not None:
        _say(server, id_of(rest), "stop_run", run=run)
        return _told(as_json, f"run {run} is stopped", sweep=id_of(rest), run=run)
    _say(server, last, "stop")
    text = f"sweep {last} ends when its running runs have finished"
    return _told(as_json, text, sweep=last, verb="stop")


def _run_of(server: Server, sweep: str, name: str) -> str | None:
    """The run that is meant, when it is one of the sweep."""
    from urllib.parse import quote

    try:
        run = server.get(f"/api/runs/{quote(name, safe='')}")
    except NotFoundError:
        return None
    return name if run["sweep_id"] == sweep else None


@click.command(short_help="Run failed and crashed runs once more.")
@click.argument("sweep", type=TEXT)
@click.argument("runs", metavar="[RUN]...", type=TEXT, nargs=-1)
@place_options
@_json
def retry(where: Where, sweep: str, runs: tuple[str, ...], as_json: bool) -> int:
    """Runs the failed and crashed runs of SWEEP once more, or those that are named.

    They go on from their last checkpoints.
    """
    sweep_id = id_of(sweep)
    args = {"runs": list(runs)} if runs else {}
    again = _say(where.connect(), sweep_id, "retry", **args)
    text = f"to be run once more: {', '.join(again)}" if again else "no run has failed"
    return _told(as_json, text, sweep=sweep_id, runs=again)


@click.command(short_help="Add a configuration of one's own.")
@click.argument("sweep", type=TEXT)
@click.option("--set", "pairs", metavar="KEY=VALUE", multiple=True, help="A parameter; repeatable.")
@click.option(
    "--file", "path", type=TEXT, help="A JSON file with a configuration, or a list of them."
)
@place_options
@_json
def enqueue(
    where: Where, sweep: str, pairs: tuple[str, ...], path: str | None, as_json: bool
) -> int:
    """Adds a configuration to SWEEP; it is the next to run, and counts for the run cap.

    \b
      tune-bridge enqueue 3f9c2d1a --set lr=0.1 --set optimizer=adam
      tune-bridge enqueue 3f9c2d1a --file points.json

    A value is read as JSON; what is none is text.
    """
    if bool(pairs) == bool(path):
        raise click.UsageError("Give --set or --file, one of them.")
    server, sweep_id = where.connect(), id_of(sweep)
    if path:
        configs = _configs(path)
    else:
        names = (server.sweep(sweep_id)["config"].get("parameters") or {}).keys()
        config: dict[str, Any] = {}
        for pair in pairs:
            key, given, value = pair.partition("=")
            if not given or not key:
                raise click.UsageError(f"{pair!r} is not KEY=VALUE.")
            _put(config, [key] if key in names else key.split("."), _value(value))
        configs = [config]
    runs = [_say(server, sweep_id, "enqueue", config=config) for config in configs]
    return _told(as_json, f"to be run next: {', '.join(runs)}", sweep=sweep_id, runs=runs)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(config: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        below = config.setdefault(part, {})
        if not isinstance(below, dict):
            raise click.UsageError(f"{'.'.join(path)} is given, and {part} as well.")
        config = below
    config[path[-1]] = value


def _configs(path: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"no JSON: {error}", source=path) from None
    configs = found if isinstance(found, list) else [found]
    if not configs or not all(isinstance(config, dict) for config in configs):
        raise InputError(
            "no configurations", source=path, expected="a JSON object, or a list of objects"
        )
    return configs


def _limit(verb: Verb, name: str, help_: str) -> Any:
    """A command that changes a limit."""

    def command(where: Where, sweep: str, number: int, as_json: bool) -> int:
        sweep_id = id_of(sweep)
        _say(where.connect(), sweep_id, verb, number=number or None)
        shown = str(number or "none")
        return _told(as_json, f"{name} of sweep {sweep_id}: {shown}", sweep=sweep_id, number=number)

    command.__doc__ = help_
    decorated = _json(place_options(command))
    decorated = click.argument("number", metavar="N|none", type=_Limit())(decorated)
    short = help_.splitlines()[0]
    return click.command(name, short_help=short)(click.argument("sweep", type=TEXT)(decorated))


run_cap = _limit("run_cap", "run-cap", "Change how many runs a sweep has in all.")
concurrency = _limit("concurrency", "concurrency", "Change how many runs there may be at once.")


@click.command(short_help="Give runs to a host again that was quarantined.")
@click.argument("sweep", type=TEXT)
@click.argument("host", type=TEXT)
@place_options
@_json
def release(where: Where, sweep: str, host: str, as_json: bool) -> int:
    """Gives runs of SWEEP to HOST again, whose programs had failed too often in a row."""
    sweep_id = id_of(sweep)
    _say(where.connect(), sweep_id, "release", host=host)
    return _told(as_json, f"{host} gets runs again", sweep=sweep_id, host=host)
