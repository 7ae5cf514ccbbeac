"""The child process of `source`: executes a Python file and writes down its experiments.

The answer is a file of JSON lines, written while the file runs, so that what was built counts
however the file ends: ``{"experiment": ...}`` for each (a later line of a number replaces an
earlier one), then ``{"end": ...}`` or ``{"error": ...}``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from tune_bridge.cli.absent import Absence
from tune_bridge.cli.intercept import Ended, Entry, Recorder, Stopped, Unrun, install
from tune_bridge.cli.libraries import SEARCHES, shim
from tune_bridge.errors import EXTRAS, InputError, SpecError, TuneBridgeError
from tune_bridge.notes import Notes
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.values import decode, encode, plain_json

__all__ = ["main"]

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h
_LOCAL = ("localhost", "127.0.0.1", "::1", "", None)


def main(argv: list[str]) -> None:
    """Executes a file.

    Args:
        argv: The file, the answer, the variable or number that is meant or "", the notation of
            that variable or "", and the file's own arguments.
    """
    source, answer = argv[0], Path(argv[1])
    name, origin = argv[2] or None, argv[3] or None
    _isolate()
    with answer.open("a", encoding="utf-8") as stream:

        def say(**message: Any) -> None:
            stream.write(json.dumps(message) + "\n")
            stream.flush()

        recorder = Recorder(source)
        recorder.write = lambda entry: say(experiment=_data(entry, recorder))
        try:
            absence = Absence({*EXTRAS, *(name.partition(".")[0] for name in SEARCHES)})
            variables, remark = _run(source, argv[4:], recorder, absence)
            _collect(variables, recorder, source, name, origin)
            for entry in recorder.entries:
                recorder.write(entry)
            remarks = [remark for remark in (_stood_in(absence), remark) if remark]
            say(end={"remarks": remarks, "spaces": _spaces(variables)})
        except TuneBridgeError as error:
            say(error=_fields(error, source))
        # What the file has left running - threads, exit handlers - is not waited for.
        for output in (sys.stdout, sys.stderr):
            output.flush()
        stream.flush()
        os._exit(0)


def _isolate() -> None:
    """Dies with the parent, and has no network."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    # The client of W&B then makes runs that go nowhere, and asks nobody to log in.
    os.environ.update(WANDB_MODE="disabled", WANDB_SILENT="true")

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            host = arguments[1][0]
        elif event == "socket.getaddrinfo":
            host = arguments[0]
        else:
            return
        if host not in _LOCAL:
            raise ConnectionError(f"no network while the file is read; it asks for {host}")

    sys.addaudithook(refuse)


def _run(
    source: str, arguments: list[str], recorder: Recorder, absence: Absence
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The file's variables, and why it ended before its end, if it did."""
    install(recorder, SEARCHES, shim)
    sys.path[0] = str(Path(source).resolve().parent)
    package = ""
    while True:
        # As `python FILE` does it; and unlike `runpy`, what was built survives a call of sys.exit.
        module = types.ModuleType("__main__")
        module.__file__, module.__package__ = source, package
        sys.modules["__main__"] = module
        sys.argv = [source, *arguments]
        try:
            exec(compile(Path(source).read_bytes(), source, "exec"), vars(module))  # noqa: S102
        except Stopped as stopped:
            raise _at(stopped.error, stopped, source) from None
        except BaseException as error:  # noqa: BLE001 - it is the user's program
            # Whatever it raised, the answer is one line about it; what was built before counts.
            if not recorder.entries and not _built(vars(module)):
                if isinstance(error, ModuleNotFoundError) and absence.add(error.name):
                    continue
                wider = _package(source, package) if _relative(error) else package
                if wider != package:
                    package = wider
                    continue
            return vars(module), _ended(error, vars(module), source, recorder)
        return vars(module), None


def _relative(error: BaseException) -> bool:
    """Whether an import went out of the package that the file is thought to be in."""
    words = ("no known parent package", "beyond top-level package")
    return isinstance(error, ImportError) and any(text in str(error) for text in words)


def _package(source: str, inner: str) -> str:
    """The package of a file with relative imports, one folder wider than `inner`.

    It can be imported from now on.
    """
    names = inner.split(".") if inner else []
    folder = Path(source).resolve().parents[len(names)]
    if not folder.name:
        return inner
    sys.path.insert(0, str(folder.parent))
    return ".".join([folder.name, *names])


def _ended(
    error: BaseException, variables: dict[str, Any], source: str, recorder: Recorder
) -> dict[str, Any] | None:
    """What to say about a file that ended before its end."""
    remark = _remark(error, source)
    # Once a search was not run, what the file makes of that says nothing about the file.
    if (_gave_up(error) and not recorder.captured) or (
        not recorder.entries and not _built(variables)
    ):
        raise _failure(error, source) from None
    if isinstance(error, TuneBridgeError):
        raise _at(error, error, source) from None
    return remark


def _stood_in(absence: Absence) -> dict[str, Any] | None:
    if not absence.names:
        return None
    return {
        "what": f"executed without {', '.join(absence.names)}",
        "why": "not installed here; what the file takes from it counts by its name alone",
    }


def _install(error: BaseException) -> str:
    """What brings a library that the file needs and that is not there."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    extra = EXTRAS.get((name or "").partition(".")[0])
    return f"pip install 'tune-bridge[{extra}]'" if extra else ""


def _gave_up(error: BaseException) -> bool:
    """Whether the file itself said that it failed."""
    if not isinstance(error, SystemExit) or isinstance(error.code, Unrun):
        return False
    return error.code not in (0, None)


def _remark(error: BaseException, source: str) -> dict[str, Any] | None:
    line = _line_of(error, source)
    if isinstance(error, SystemExit) and not _gave_up(error):
        return None
    if isinstance(error, Ended):
        what, why = "not executed beyond this line", str(error)
    else:
        what, why = "ended by an error", _short(error)
    return {"what": what, "why": why, "line": line}


def _short(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    name = type(error).__name__
    return f"{name}: {text[:300]}" if text else name


def _failure(error: BaseException, source: str) -> TuneBridgeError:
    if isinstance(error, TuneBridgeError):
        return _at(error, error, source)
    if isinstance(error, SystemExit):
        if not _gave_up(error):
            return _nothing(source)
        return InputError(
            f"called sys.exit({error.code!r}), which says that it failed",
            source=source,
            line=_line_of(error, source),
            # argparse's own code for arguments that are wrong.
            hint="its own arguments go after --" if error.code == 2 else "",
        )
    if isinstance(error, Ended):
        return InputError(
            "not executed beyond this line, and no experiment is built before",
            source=source,
            line=_line_of(error, source),
            found=str(error),
            hint="install it, or build the experiment without it",
        )
    syntax = isinstance(error, SyntaxError)
    return InputError(
        _short(error) if not syntax else f"{type(error).__name__}: {error.msg}",  # type: ignore[attr-defined]
        source=(error.filename or source) if syntax else source,  # type: ignore[attr-defined]
        line=error.lineno if syntax else _line_of(error, source),  # type: ignore[attr-defined]
        hint=_install(error) or "the file failed while it was executed",
    )


def _nothing(source: str) -> InputError:
    return InputError(
        "the file builds no experiment",
        source=source,
        expected="a search (tune.run, Tuner.fit, fmin, wandb.sweep, ...) or a variable that holds "
        "one",
    )


def _at(error: TuneBridgeError, raised: BaseException, source: str) -> TuneBridgeError:
    if isinstance(error, InputError) and not error.source:
        error.source, error.line = source, error.line or _line_of(raised, source)
    return error


def _fields(error: TuneBridgeError, source: str) -> dict[str, Any]:
    if not isinstance(error, InputError):
        return {"message": str(error), "source": source}
    return {key: value for key, value in vars(error).items() if value not in ("", None)}


def _data(entry: Entry, recorder: Recorder) -> dict[str, Any]:
    config = entry.config
    notes = config._notes if config._notes is not None else Notes()
    return {
        "number": recorder.entries.index(entry) + 1,
        "name": entry.name,
        "line": entry.line,
        "config": plain_json(decode(encode(dict(config))))[0],
        "notes": [note.as_dict() for note in notes],
    }


# What variables hold


def _collect(
    variables: dict[str, Any], recorder: Recorder, source: str, name: str | None, origin: str | None
) -> None:
    """Adds what variables hold to what was captured."""
    if origin is not None:
        recorder.entries[:] = []
        recorder.add(_space(variables, source, name, origin), name or "space")
        return
    tuners: list[Any] = []
    for key, value in variables.items():
        if key.startswith("_") or not _is_experiment(value):
            continue
        if isinstance(value, SweepConfig):
            recorder.add(value, key)
        elif not any(value is tuner for tuner in tuners):
            tuners.append(value)
            _add_tuner(value, key, recorder)
    named = name is not None and not name.isdigit()
    if named and name not in [entry.name for entry in recorder.entries]:
        if name in variables:
            recorder.entries[:] = []
            recorder.add(_space(variables, source, name, None), name)
            return
        known = [entry.name for entry in recorder.entries if entry.name]
        raise InputError(
            f"no experiment called {name!r}",
            source=source,
            found=", ".join(known) or "none",
            hint="or the number of one" if recorder.entries else "",
        )
    if not recorder.entries and name is None:
        raise _with_spaces(_nothing(source), variables, source)


def _add_tuner(tuner: Any, name: str, recorder: Recorder) -> None:
    """A Tuner, unless it was fitted: that was captured."""
    config = SweepConfig.from_tuner(tuner)
    for entry in recorder.entries:
        if entry.config == config and entry.name is None:
            entry.name = name
            return
    recorder.add(config, name)


def _built(variables: dict[str, Any]) -> bool:
    return any(_is_experiment(value) for value in variables.values())


def _is_experiment(value: Any) -> bool:
    if isinstance(value, SweepConfig):
        return True
    kind = type(value)
    if kind.__module__.startswith("ray.") and kind.__name__ == "Tuner":
        return True
    return kind.__name__ == "Call" and getattr(value, "name", "").endswith("Tuner")


_USUAL = ("space", "pbounds", "parameters", "parametrization", "dimensions")
"""What people call a space, where they do not say what it is called."""

_LIBRARIES = {
    "hyperopt": "hyperopt",
    "hp": "hyperopt",
    "scope": "hyperopt",
    "ray": "tune",
    "tune": "tune",
    "domains": "tune",
    "optuna": "optuna",
    "ConfigSpace": "configspace",
    "nevergrad": "nevergrad",
    "skopt": "skopt",
    "ax": "ax",
    "bayes_opt": "bayesopt",
}
"""Library of an object, or first part of a recorded name -> notation."""


def notation_of(value: Any, depth: int = 0) -> str | None:
    """The notation that an object is in, by the libraries of what it holds."""
    if isinstance(value, dict) and depth == 0 and {"parameters", "method"} & value.keys():
        return "sweep"
    if isinstance(value, dict | list | tuple) and depth < 4:
        items = value.values() if isinstance(value, dict) else value
        found = (notation_of(item, depth + 1) for item in list(items)[:200])
        return next((name for name in found if name is not None), None)
    if isinstance(value, types.FunctionType):
        code = value.__code__
        return "optuna" if code.co_argcount == 1 and code.co_varnames[0] == "trial" else None
    if type(value).__name__ == "Call":
        return _LIBRARIES.get(str(value.name).partition(".")[0])
    return _LIBRARIES.get(type(value).__module__.partition(".")[0])


def _spaces(variables: dict[str, Any]) -> list[str]:
    """Variables that hold a space of a notation that is known."""
    return [
        key
        for key, value in variables.items()
        if not key.startswith("_")
        and not isinstance(value, types.ModuleType | type)
        and isinstance(value, dict | list | tuple)
        and notation_of(value) is not None
    ]


def _with_spaces(error: InputError, variables: dict[str, Any], source: str) -> InputError:
    spaces = _spaces(variables)
    if spaces:
        error.hint = f"it holds a space: give {source}:{spaces[0]}"
    return error


def _space(
    variables: dict[str, Any], source: str, name: str | None, origin: str | None
) -> SweepConfig:
    """The variable that holds a space."""
    from tune_bridge.cli.source import from_notation
    from tune_bridge.dialects.base import get_dialect

    found = [key for key in ((name,) if name else _USUAL) if key in variables]
    if not found:
        raise InputError(
            f"no variable called {name or ' or '.join(_USUAL)!r}",
            source=source,
            found=", ".join(key for key in variables if not key.startswith("_"))[:200] or "none",
            hint="name the one with the space: --object NAME",
        )
    value = variables[found[0]]
    notation = origin or notation_of(value)
    try:
        if notation is None:
            raise SpecError(
                "no space of a notation that is known",
                found=f"a {type(value).__qualname__}",
                hint="say which notation it is: --from NOTATION",
            )
        if notation == "tune" and isinstance(value, dict):
            return SweepConfig.from_tune(None, config=value)
        if notation == "sweep":
            return SweepConfig(value)
        return from_notation(get_dialect(notation), value)
    except InputError as error:
        if not error.path.startswith(found[0]):
            error.path = f"{found[0]}.{error.path}" if error.path else found[0]
        error.source = error.source or source
        raise


def _line_of(error: BaseException, source: str) -> int | None:
    """The last line of the user's file in the traceback."""
    place = Path(source).resolve()
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == place
    ]
    return lines[-1] if lines else None


if __name__ == "__main__":
    main(sys.argv[1:])
