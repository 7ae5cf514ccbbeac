"""The exceptions of tune_bridge, named by what the caller should do next.

Every message says where, what was found, what was expected and what to do. The command line turns
`InputError` into exit code 1; nothing that a user can cause ends in a traceback of a dependency.
"""

from __future__ import annotations

__all__ = [
    "EXTRAS",
    "BackendError",
    "ConflictError",
    "InputError",
    "MissingExtraError",
    "NotFoundError",
    "OccupiedError",
    "SpecError",
    "TooLargeError",
    "TuneBridgeError",
    "UnsupportedError",
]


class TuneBridgeError(Exception):
    """Base of everything that tune_bridge raises on purpose."""


class InputError(TuneBridgeError):
    """Something the user gave has to be changed.

    Args:
        message: What is wrong, in a phrase without a final stop.
        path: Where in the document or object, dotted (``parameters.lr.min``); empty for the whole.
        found: What stands there, as text.
        expected: What should stand there.
        hint: What to do about it.
        source: The file (or ``<string>``) that it came from.
        line: One-based line in `source`.
        column: One-based column in `source`.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str = "",
        found: str = "",
        expected: str = "",
        hint: str = "",
        source: str = "",
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.found = found
        self.expected = expected
        self.hint = hint
        self.source = source
        self.line = line
        self.column = column

    def at(self, source: str, line: int | None, column: int | None) -> InputError:
        """Returns this error with its place in a file filled in, where it is not known yet."""
        if not self.source:
            self.source = source
        if self.line is None:
            self.line, self.column = line, column
        return self

    def __str__(self) -> str:
        place = ":".join(
            str(part) for part in (self.source, self.line, self.column) if part not in ("", None)
        )
        where = ": ".join(part for part in (place, self.path) if part)
        text = f"{where}: {self.message}" if where else self.message
        if self.found:
            text += f"; found {self.found}"
        if self.expected:
            text += f", expected {self.expected}"
        if self.hint:
            text += f" ({self.hint})"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, dict(self.__dict__)))


def _rebuild(kind: type[InputError], message: str, fields: dict[str, object]) -> InputError:
    error = kind(message)
    error.__dict__.update(fields)
    return error


class SpecError(InputError):
    """A space, an experiment or a sweep is malformed: fix the place that is named."""


class UnsupportedError(InputError):
    """The target cannot say something: change it, or choose another target."""


class NotFoundError(InputError):
    """A sweep, a run or a file that was named does not exist."""


class TooLargeError(InputError):
    """Something is larger than what is taken."""


class MissingExtraError(TuneBridgeError):
    """An optional dependency is needed: install the extra that is named.

    Args:
        package: The distribution that could not be imported.
        extra: The extra of tune_bridge that brings it.
        purpose: What it is needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed: pip install 'tune-bridge[{extra}]'"
        )
        self.package = package
        self.extra = extra
        self.purpose = purpose


EXTRAS: dict[str, str] = {
    "ConfigSpace": "configspace",
    "ax": "ax",
    "bayes_opt": "bayesopt",
    "hyperopt": "ray",
    "nevergrad": "nevergrad",
    "optuna": "optuna",
    "ray": "ray",
    "skopt": "skopt",
    "wandb": "wandb",
}
"""Module that a program imports -> the extra of tune_bridge that brings it."""


class BackendError(TuneBridgeError):
    """A backend could not be reached or refused the work: try again, or name another one."""


class ConflictError(BackendError):
    """Somebody else has written what was to be written: read again, then decide."""


class OccupiedError(BackendError):
    """Another process does this already, and only one may: use that one, or stop it."""
