"""`SweepConfig`: a sweep as the dict that `wandb.sweep` takes, with its experiment and notes."""

from __future__ import annotations

import marshal
import os
from collections.abc import Mapping
from typing import Any

from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.sweep import SweepDialect, yaml_file
from tune_bridge.errors import InputError, SpecError
from tune_bridge.experiment import Experiment
from tune_bridge.files import read_bytes, write_text
from tune_bridge.notes import Level, Notes

__all__ = ["SweepConfig"]

_SWEEP = SweepDialect()


class SweepConfig(dict[str, Any]):
    """A sweep config: a real dict with W&B's keys, and the carry under ``controller.tune``.

    Make one with `tune_bridge.tune.run`, `from_tune`, `from_tuner`, `from_experiment`, `load` or
    `from_yaml`; ``wandb.sweep(config)`` takes it as it is.

    Args:
        config: A sweep config as W&B documents it. It is not checked until `experiment` is read.
    """

    def __init__(self, config: Mapping[str, Any] | None = None, **keys: Any) -> None:
        super().__init__(config or {}, **keys)
        self._notes: Notes | None = None
        self._read: tuple[bytes, Experiment] | None = None

    @property
    def experiment(self) -> Experiment:
        """The experiment that the config says now; edits of the dict count.

        Raises:
            SpecError: The config is malformed.
        """
        state = _fingerprint(self)
        if self._read is None or state is None or self._read[0] != state:
            experiment = _SWEEP.read(self).value
            self._read = None if state is None else (state, experiment)
            return experiment
        return self._read[1]

    @property
    def notes(self) -> Notes:
        """What the translation into this config kept, carried and approximated.

        For a config that was loaded, what reading it had to say.

        Raises:
            SpecError: The config was not made by a translation and is malformed.
        """
        return self._notes if self._notes is not None else _SWEEP.read(self).notes

    @classmethod
    def from_experiment(
        cls, experiment: Experiment, *, strict: bool = False, notes: Notes | None = None
    ) -> SweepConfig:
        """Writes an experiment as a sweep.

        Args:
            experiment: What is to be swept.
            strict: Refuse everything that the native keys do not say exactly.
            notes: What reading the experiment had to say; the writer's notes are added.

        Raises:
            SpecError: W&B forbids something that the experiment has.
            UnsupportedError: There is no sweep near it, or it is not exact and `strict` is set.
        """
        written = _SWEEP.write(experiment)
        config = cls(written.value)
        config._notes = Notes([*(notes or ()), *written.notes])
        config._notes.require(Level.EXACT if strict else Level.APPROXIMATED)
        return config

    @classmethod
    def from_tune(cls, *args: Any, strict: bool = False, **kwargs: Any) -> SweepConfig:
        """Translates the arguments of ``tune.run``; nothing is run.

        Args:
            *args: ``run_or_experiment``: a program's path, or a function or class importable by
                name.
            strict: As for `from_experiment`.
            **kwargs: The further arguments of Ray's ``tune.run``; recorded and live objects may be
                mixed.

        Raises:
            SpecError: An argument is malformed.
            UnsupportedError: Something has no translation; the message names the argument.
        """
        if len(args) > 1:
            raise TypeError("tune.run() takes one positional argument here; name the others")
        if args:
            kwargs = {"run_or_experiment": args[0], **kwargs}
        read = get_dialect("tune").read(kwargs)
        return cls.from_experiment(read.value, strict=strict, notes=read.notes)

    @classmethod
    def from_tuner(cls, tuner: Any, *, strict: bool = False) -> SweepConfig:
        """Translates a ``Tuner``, Ray's or the recording one; it need not have been fitted.

        Raises:
            SpecError: Something is malformed.
            UnsupportedError: Something has no translation.
        """
        read = get_dialect("tune").read(tuner)
        return cls.from_experiment(read.value, strict=strict, notes=read.notes)

    @classmethod
    def from_yaml(cls, text: str | bytes, source: str = "<string>") -> SweepConfig:
        """Reads the text of a sweep file.

        Args:
            text: YAML.
            source: Where it came from, for messages.

        Raises:
            SpecError: Not YAML, or not a sweep; with line and column.
        """
        document = yaml_file.load(text, source)
        read = _SWEEP.read(document)
        config = cls(document.data)
        config._notes = read.notes
        state = _fingerprint(config)
        config._read = None if state is None else (state, read.value)
        return config

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SweepConfig:
        """Reads a sweep file.

        Raises:
            NotFoundError: There is no such file.
            SpecError: Not YAML, or not a sweep; with line and column.
        """
        return cls.from_yaml(read_bytes(path), os.fspath(path))

    def to_yaml(self) -> str:
        """The text of a sweep file, in the order of the keys."""
        return yaml_file.dump(_plain(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a sweep file, YAML or (``.json``) JSON: whole, or not at all.

        Raises:
            InputError: It cannot be written; an old file stays as it was.
        """
        write_text(path, yaml_file.text_for(path, _plain(self)))

    def set(
        self,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        local: bool | None = None,
    ) -> SweepConfig:
        """Sets what the original beta's `set` did.

        Args:
            name: The sweep's name.
            settings: Settings for the runs, kept under ``settings``.
            local: Give the sweep a local controller.

        Returns:
            This config.

        Raises:
            SpecError: An argument is of another type.
        """
        for path, value, kinds, expected in (
            ("name", name, str, "text"),
            ("settings", settings, Mapping, "a mapping"),
            ("local", local, bool, "True or False"),
        ):
            if value is not None and not isinstance(value, kinds):
                raise SpecError(
                    f"{path} of a sweep", path=path, found=repr(value)[:60], expected=expected
                )
        if name:
            self["name"] = name
        if settings:
            self["settings"] = dict(settings)
        if local:
            self["controller"] = {**(self.get("controller") or {}), "type": "local"}
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (dict(self), list(self._notes) if self._notes is not None else None))


def _fingerprint(config: SweepConfig) -> bytes | None:
    """Equal for equal data, types included; None for a config that holds an object."""
    try:
        return marshal.dumps(dict(config), 2)
    except ValueError:
        return None


def _rebuild(config: dict[str, Any], notes: list[Any] | None) -> SweepConfig:
    rebuilt = SweepConfig(config)
    rebuilt._notes = None if notes is None else Notes(notes)
    return rebuilt


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise InputError(
        "a sweep config holds an object that YAML cannot",
        found=f"a {type(value).__module__}.{type(value).__qualname__}",
        expected="plain values",
    )
