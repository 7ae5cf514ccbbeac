"""``tune-bridge convert``: one notation into another."""

from __future__ import annotations

from pathlib import Path

import click

from tune_bridge.cli.options import NOTATION, SECONDS, TEXT
from tune_bridge.cli.programs import PROGRAM, program_note
from tune_bridge.cli.scripts import OfFiles, script_arguments
from tune_bridge.cli.source import FILE, TIMEOUT, Built, load_sources
from tune_bridge.dialects.base import DIALECTS, get_dialect
from tune_bridge.errors import InputError
from tune_bridge.files import write_text
from tune_bridge.notes import Level, Note, Notes

__all__ = ["convert"]


class _Result:
    """One experiment in the target notation, not written yet."""

    def __init__(
        self, built: Built, target: str, dst: str | None, origin: str | None, strict: bool
    ) -> None:
        read = list(built.config.notes)
        written = get_dialect(target).source(built.config.experiment)
        if origin is not None:
            notes = [*read, *written.notes]
        elif target == "sweep" and read:
            # A Python file was translated into a sweep on the way in: those notes say it all.
            notes = read
        else:
            notes = [*(note for note in read if note.path == FILE), *written.notes]
        missing = program_note(built.config, target)
        if missing is not None and all(note.path != PROGRAM for note in notes):
            notes.append(missing)
        self.built, self.target, self.output = built, target, dst
        self.notes = Notes(notes).require(Level.EXACT if strict else Level.APPROXIMATED)
        self.text = written.value

    def numbered(self) -> None:
        """Puts the number of the experiment into the name of the file."""
        if self.output:
            path = Path(self.output)
            self.output = str(path.with_name(f"{path.stem}-{self.built.number}{path.suffix}"))

    def file_text(self) -> str:
        """What is written to the output: a sweep is JSON where the name of the file says so."""
        if self.target != "sweep" or not (self.output or "").lower().endswith(".json"):
            return self.text
        from tune_bridge.dialects.sweep import yaml_file

        return yaml_file.text_for(str(self.output), yaml_file.load(self.text).data)

    def as_dict(self) -> dict[str, object]:
        """The result as JSON."""
        return {
            "number": self.built.number,
            "name": self.built.name,
            "to": self.target,
            "output": self.output,
            "text": None if self.output else self.text,
            "notes": [note.as_dict() for note in self.notes],
        }


@click.command(cls=OfFiles, short_help="Translate one notation into another.")
@click.argument("src", type=TEXT)
@click.option("-o", "--output", "dst", type=TEXT, help="Write here; the default prints.")
@click.option(
    "--to",
    "target",
    type=NOTATION,
    metavar="NOTATION",
    help=f"Target notation: {', '.join(DIALECTS)}. The default follows the ending of DST, else "
    "a Python file becomes a sweep and a sweep becomes a Tune program.",
)
@click.option("--strict", is_flag=True, help="Refuse everything that is not exact.")
@click.option(
    "--from",
    "origin",
    type=NOTATION,
    metavar="NOTATION",
    help="What SRC holds, if it is no sweep and nothing of Ray's: optuna, configspace, ...",
)
@click.option(
    "--object",
    "name",
    type=TEXT,
    metavar="NAME",
    help="The variable meant, or the number of the experiment, if a file has several.",
)
@click.option(
    "--timeout", type=SECONDS, default=TIMEOUT, show_default=True, help="Seconds for a Python file."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result and its notes as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on standard error.")
def convert(
    src: str,
    dst: str | None,
    target: str | None,
    strict: bool,
    origin: str | None,
    name: str | None,
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Translates SRC: a sweep file (YAML), or a Python file that builds an experiment.

    The translation says on standard error what it carried or approximated. A Python file is
    executed in a child process; nothing is trained. FILE.py:NAME means one variable of it,
    FILE.py:2 the second experiment. Several experiments are written to DST with their numbers:
    sweep-1.yaml, sweep-2.yaml, ...

    \b
      tune-bridge convert experiment.py -o sweep.yaml
      tune-bridge convert experiment.py -o sweep.yaml -- --epochs 3
      tune-bridge convert sweep.yaml --to tune
      tune-bridge convert sweep.yaml -o space.py --to hyperopt
    """
    built = load_sources(
        src, name=name, timeout=timeout, origin=origin, arguments=script_arguments(src)
    )
    if len(built) > 1 and not dst and not as_json:
        raise InputError(
            f"the file builds {len(built)} experiments",
            source=src,
            found=", ".join(item.title for item in built),
            expected="one, where the result is printed",
            hint=f"choose with {src}:{built[0].name or 1}, or write them to files: -o",
        )
    target = target or _target(src, dst)
    results = [_Result(item, target, dst, origin, strict) for item in built]
    if len(built) > 1:
        for result in results:
            result.numbered()
    texts = [result.file_text() for result in results]
    for result, text in zip(results, texts, strict=True):
        if result.output:
            write_text(result.output, text)
    if as_json:
        import json

        data = [result.as_dict() for result in results]
        click.echo(json.dumps(data[0] if len(data) == 1 else {"experiments": data}, indent=2))
        return
    for result in results:
        _show(result, src, quiet)


def _show(result: _Result, src: str, quiet: bool) -> None:
    if not result.output:
        click.echo(result.text, nl=False)
    if quiet:
        return
    for note in result.notes:
        if note.level > Level.EXACT or note.path in (FILE, PROGRAM):
            click.echo(_line(note, src), err=True)
    if result.output:
        click.echo(f"wrote {result.output}", err=True)


def _line(note: Note, src: str) -> str:
    """A note as a line; one about the file names the place."""
    if note.path == PROGRAM and note.level is Level.EXACT:
        return f"note: {note.what} - {note.why}"
    if note.path != FILE:
        return str(note)
    place = f"{src}:{note.line}" if note.line else src
    return f"note: {place}: {note.what} - {note.why}"


_DATA = (".yaml", ".yml", ".json")


def _target(src: str, dst: str | None) -> str:
    ending = Path(dst or "").suffix.lower()
    if ending in (*_DATA, ".py"):
        return "sweep" if ending in _DATA else "tune"
    return "tune" if Path(src).suffix.lower() in _DATA else "sweep"
