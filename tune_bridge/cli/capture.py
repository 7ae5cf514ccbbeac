"""The child process of `source`: executes a Python file and writes down its experiment."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
import traceback
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from tune_bridge.errors import InputError, TuneBridgeError
from tune_bridge.notes import Notes
from tune_bridge.sweep_config import SweepConfig

__all__ = ["main"]


class _Captured(BaseException):
    """Carries an experiment out of a file that was about to run it."""

    def __init__(self, config: SweepConfig) -> None:
        super().__init__()
        self.config = config


def main(argv: list[str]) -> None:
    """Executes ``argv[0]`` and writes JSON to ``argv[1]``: the config and notes, or the error."""
    source, answer = argv[0], Path(argv[1])
    name, origin = ([item or None for item in argv[2:]] + [None, None])[:2]
    try:
        config = _capture(source, name, origin)
        notes = config._notes if config._notes is not None else Notes()
        result = {"config": config, "notes": [note.as_dict() for note in notes]}
    except InputError as error:
        fields = {key: value for key, value in vars(error).items() if value not in ("", None)}
        if "source" not in fields:
            fields["source"] = source
            fields["line"] = _line_of(error, source)
        result = {"error": fields}
    except TuneBridgeError as error:
        result = {"error": {"message": str(error), "source": source}}
    answer.write_text(json.dumps(result), "utf-8")


def _capture(source: str, name: str | None, origin: str | None) -> SweepConfig:
    sys.meta_path.insert(0, _RayTune())
    sys.argv = [source]
    sys.path[0] = str(Path(source).resolve().parent)
    # As `python FILE` does it; and unlike `runpy`, what was built survives a call of sys.exit.
    module = types.ModuleType("__main__")
    module.__file__ = source
    sys.modules["__main__"] = module
    variables = vars(module)
    try:
        exec(compile(Path(source).read_bytes(), source, "exec"), variables)  # noqa: S102
    except _Captured as captured:
        return captured.config
    except TuneBridgeError:
        raise
    except SystemExit as error:
        if error.code not in (0, None):
            raise InputError(
                f"called sys.exit({error.code!r}) before it built an experiment", source=source
            ) from None
    except BaseException as error:  # noqa: BLE001 - it is the user's program
        # The user's own program failed; whatever it raised, the answer is one line about it.
        raise InputError(
            f"{type(error).__name__}: {error}",
            source=error.filename or source if isinstance(error, SyntaxError) else source,
            line=error.lineno if isinstance(error, SyntaxError) else _line_of(error, source),
            hint="the file failed while it was executed",
        ) from None
    return (
        _choose(variables, source, name)
        if origin is None
        else _read(variables, source, name, origin)
    )


_USUAL = ("space", "pbounds", "parameters", "parametrization", "dimensions")
"""What people call a space, where they do not say what it is called."""


def _read(variables: dict[str, Any], source: str, name: str | None, origin: str) -> SweepConfig:
    """The variable that holds a space of another notation."""
    from tune_bridge.cli.source import from_notation
    from tune_bridge.dialects.base import get_dialect

    dialect = get_dialect(origin)
    found = [key for key in ((name,) if name else _USUAL) if key in variables]
    if not found:
        raise InputError(
            f"no variable called {name or ' or '.join(_USUAL)!r}",
            source=source,
            found=", ".join(key for key in variables if not key.startswith("_"))[:200] or "none",
            hint="name the one with the space: --object NAME",
        )
    return from_notation(dialect, variables[found[0]])


class _RayTune(importlib.abc.MetaPathFinder):
    """Takes the place of Ray's own entry points, whoever imports them, and loads nothing itself."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Finds ``ray.tune`` as everybody else would, and patches it when it is loaded."""
        if name != "ray.tune":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            load(module)
            _patch(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _patch(tune: Any) -> None:
    def run(*args: Any, **kwargs: Any) -> NoReturn:
        raise _Captured(SweepConfig.from_tune(*args, **kwargs))

    def fit(self: Any) -> NoReturn:
        raise _Captured(SweepConfig.from_tuner(self))

    tune.run = sys.modules["ray.tune.tune"].run = run  # type: ignore[attr-defined]
    tune.Tuner.fit = fit


def _choose(variables: dict[str, Any], source: str, name: str | None) -> SweepConfig:
    found: dict[str, Any] = {}
    for key, value in variables.items():
        if not key.startswith("_") and _is_experiment(value) and value not in found.values():
            found[key] = value
    if name is not None:
        if name not in found:
            raise InputError(
                f"no experiment called {name!r}",
                source=source,
                found=", ".join(found) or "none",
            )
        return _config(found[name])
    if not found:
        raise InputError(
            "the file builds no experiment",
            source=source,
            expected="a variable made by tune_bridge's tune.run(...) or Tuner(...), or by Ray's",
        )
    if len(found) > 1:
        raise InputError(
            f"the file builds {len(found)} experiments",
            source=source,
            found=", ".join(found),
            expected="one",
            hint="choose with --object NAME",
        )
    return _config(next(iter(found.values())))


def _is_experiment(value: Any) -> bool:
    if isinstance(value, SweepConfig):
        return True
    kind = type(value)
    if kind.__module__.startswith("ray.") and kind.__name__ == "Tuner":
        return True
    return kind.__name__ == "Call" and getattr(value, "name", "").endswith("Tuner")


def _config(value: Any) -> SweepConfig:
    return value if isinstance(value, SweepConfig) else SweepConfig.from_tuner(value)


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
