"""What there is: the list of sweeps, the state of one, its best run, its events."""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from tune_bridge.cli.options import TEXT, Number
from tune_bridge.cli.place import Sweeps, Where, id_of, place_options
from tune_bridge.errors import NotFoundError
from tune_bridge.server.values import number, plain, relative_time, text, to_yaml

__all__ = ["all_events", "best", "events", "ls", "status"]

_OVER = ("finished", "canceled", "failed")
_LOOK = 1.0
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _print_json(value: Any) -> None:
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


@click.command(short_help="List the sweeps.")
@click.option("--project", type=TEXT, metavar="NAME", help="Those of one project.")
@click.option("-n", "limit", type=Number(int, 1, 1000), default=20, show_default=True)
@place_options
@_json
def ls(where: Where, project: str | None, limit: int, as_json: bool) -> int:
    """Lists the newest sweeps of a place or a server, with their runs and best values."""
    with where.read() as sweeps:
        found = sweeps.lines(1000 if project else limit)
    lines = [line for line in found if project in (None, line["project"])][:limit]
    if as_json:
        _print_json(lines)
        return 0
    if not lines:
        click.echo("no sweeps yet; make one with: tune-bridge sweep FILE", err=True)
        return 0
    from rich.table import Table

    table = Table("sweep", "name", "project", "state", "runs", "best", "made", box=None)
    for line in lines:
        counts = ", ".join(f"{count} {kind}" for kind, count in line["counts"].items() if count)
        shown = (
            "" if line["best"] is None else f"{line['metric']}: {_number(line['best']['value'])}"
        )
        name = "" if line["name"] == line["id"] else line["name"]
        made = relative_time(line["created_at"])
        since = line["unheard_since"]
        state = line["state"] + ("" if since is None else f", heard of {relative_time(since)}")
        table.add_row(line["id"], name, line["project"], state, counts, shown, made)
    _print(table)
    return 0


def _number(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else str(value)


def _print(table: Any) -> None:
    from tune_bridge.cli.console import print_table

    print_table(table, wide=1000)  # on a pipe a line is a line, however long


@click.command(short_help="Show the queue of a sweep: runs, agents, hosts.")
@click.argument("sweep", type=TEXT)
@click.option("--watch", is_flag=True, help="Again each second, until the sweep is over.")
@place_options
@_json
def status(where: Where, sweep: str, watch: bool, as_json: bool) -> int:
    """Shows what SWEEP does: its runs by state, who runs what, hosts that failed, its best value.

    Exit codes: 0 done, 1 there is no such sweep or it has failed, 2 wrong usage.
    """
    server, sweep_id = where.connect(), quote(id_of(sweep), safe="")

    def look() -> dict[str, Any]:
        queue = server.get(f"/api/sweeps/{sweep_id}/queue")
        return {**queue, "best": server.sweep(id_of(sweep)).get("best")}

    found = look()
    if as_json:
        while watch and found["gate"] not in _OVER:
            time.sleep(_LOOK)
            found = look()
        _print_json(found)
    elif watch and sys.stdout.isatty():
        from rich.live import Live

        with Live(_state(found), refresh_per_second=4) as live:
            while found["gate"] not in _OVER:
                time.sleep(_LOOK)
                found = look()
                live.update(_state(found))
    else:
        _print(_state(found))
        before = found
        while watch and found["gate"] not in _OVER:
            time.sleep(_LOOK)
            found = look()
            if (found["runs"], found["gate"]) != (before["runs"], before["gate"]):
                click.echo(f"{_word(found)}: {_runs(found)}")
                before = found
    return 1 if found["gate"] == "failed" else 0


def _word(found: dict[str, Any]) -> str:
    """The sweep's state as the list of sweeps says it."""
    gate = str(found["gate"])
    return f"running, {gate}" if gate == "stopping" else gate


def _runs(found: dict[str, Any]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in found["runs"].items()) or "no runs yet"


def _state(found: dict[str, Any]) -> Any:
    """The table of one sweep."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    about = Table(show_header=False, box=None)
    best_run = found["best"]
    rows = {
        "sweep": found["sweep"],
        "state": _word(found) + (f": {found['reason']}" if found["reason"] else ""),
        "runs": _runs(found),
        "at once": "" if found["concurrency"] is None else str(found["concurrency"]),
        "waiting": found["waiting"],
        "checkpoints": found["needs_checkpoints"],
        "best": ""
        if best_run is None
        else f"{_number(best_run['value'])} (run {best_run['run_id']})",
    }
    for name, shown in rows.items():
        if shown:
            about.add_row(name, Text(shown))
    parts: list[Any] = [about]
    if found["agents"]:
        agents = Table("run", "attempt", "status", "agent", "host", "heard of", box=None)
        for agent in found["agents"]:
            heard = "" if agent["seen"] is None else relative_time(agent["seen"])
            cells = (agent["run"], str(agent["attempt"]), agent["status"], agent["agent"])
            agents.add_row(*map(Text, (*cells, agent["host"], heard)))
        parts += ["", agents]
    for host in found["hosts"].values():
        if host["quarantine"]:
            parts.append(Text(host["quarantine"], style="red"))
    return Group(*parts)


@click.command(short_help="Show the best run of a sweep.")
@click.argument("sweep", type=TEXT)
@click.option("--yaml", "form", flag_value="yaml", help="Its parameters as YAML.")
@click.option("--json", "form", flag_value="json", help="All of it as JSON.")
@click.option("--command", "form", flag_value="command", help="The command line that repeats it.")
@place_options
def best(where: Where, sweep: str, form: str | None) -> int:
    """Shows the run of SWEEP with the best value of its metric.

    \b
      tune-bridge best 3f9c2d1a
      $(tune-bridge best 3f9c2d1a --command)
    """
    with where.read() as sweeps:
        about = sweeps.sweep(id_of(sweep))
        found = about["best"]
        if found is None:
            raise NotFoundError(
                "no run has a usable value of the metric", path=f"sweep {about['id']}"
            )
        run = sweeps.run(found["run_id"])
    if form == "json":
        metric = (about["config"].get("metric") or {}).get("name")
        kept = {name: run[name] for name in ("config", "summary", "state")}
        shown = {"sweep": about["id"], "run": run["id"], "metric": metric, "value": found["value"]}
        _print_json({**shown, **kept})
    elif form == "yaml":
        click.echo(to_yaml(run["config"]), nl=False)
    elif form == "command":
        click.echo(_command(about["config"], run["config"]))
    else:
        click.echo(f"run {run['id']}: {_number(found['value'])}")
        for key, value in run["config"].items():
            click.echo(f"  {key}: {text(value)}")
    return 0


def _command(config: dict[str, Any], parameters: dict[str, Any]) -> str:
    """What starts the program with these parameters, for a shell."""
    from tune_bridge.command import Start, expand
    from tune_bridge.sweep_config import SweepConfig

    experiment = SweepConfig(config).experiment
    if experiment.program is None and experiment.command is None:
        raise NotFoundError("the sweep has no program", hint="use --yaml or --json")
    start = Start(parameters, experiment.program, config_file="config.json")
    return shlex.join(expand(experiment.command, start))


@click.command(short_help="Show all that was asked, told and decided.")
@click.argument("sweep", type=TEXT)
@click.option("--jsonl", is_flag=True, help="One JSON object a line, complete.")
@place_options
def events(where: Where, sweep: str, jsonl: bool) -> int:
    """Lists the events of SWEEP: claims, results, ends, commands, and what came of each.

    \b
      tune-bridge events 3f9c2d1a
      tune-bridge events 3f9c2d1a --jsonl > events.jsonl
    """
    with where.read() as sweeps:
        for index, event in enumerate(all_events(sweeps, id_of(sweep))):
            if jsonl:
                click.echo(json.dumps(plain(event), ensure_ascii=False))
            else:
                click.echo(_event(index, event))
    return 0


def all_events(sweeps: Sweeps, sweep_id: str) -> Iterator[dict[str, Any]]:
    """The events of a sweep, in order."""
    first = 0
    while page := sweeps.events(sweep_id, first):
        yield from page
        first += len(page)


def _event(index: int, event: dict[str, Any]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(event.get("time", 0)))
    hidden = ("event", "time", "did", "request", "seq")
    said = " ".join(f"{key}={_short(value)}" for key, value in event.items() if key not in hidden)
    did = "; ".join(_did(each) for each in event.get("did", ()))
    return f"{index:6} {at} {event.get('event', ''):8} {said}" + (f" -> {did}" if did else "")


def _did(each: dict[str, Any]) -> str:
    kind = each.get("answer") or each.get("action") or ""
    run, reason = each.get("run", ""), each.get("reason", "")
    return " ".join(part for part in (kind, run, reason and f"({reason})") if part)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    return text(value, 80)
