"""W&B's sweep config: YAML files and the dicts that `wandb.sweep` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_bridge.dialects.base import Dialect, Translation
from tune_bridge.dialects.sweep import yaml_file
from tune_bridge.dialects.sweep.carry import apply_carry, make_carry
from tune_bridge.dialects.sweep.distributions import read_parameter, write_parameter
from tune_bridge.dialects.sweep.keys import read_native, write_native
from tune_bridge.errors import InputError, SpecError
from tune_bridge.experiment import Experiment
from tune_bridge.garbage import no_collection
from tune_bridge.notes import Notes
from tune_bridge.values import shorten

__all__ = ["SweepDialect", "is_legacy"]


_YAML_WORDS = {"None": "null", "True": "true", "False": "false"}
"""What Python prints -> what stands in a file."""


class SweepDialect(Dialect):
    """Reads and writes sweep configs, the carry included."""

    name = "sweep"
    suffixes = (".yaml", ".yml")

    @no_collection()
    def read(self, source: Any, notes: Notes | None = None) -> Translation[Experiment]:
        """Reads a sweep config.

        Args:
            source: A mapping, or a parsed `yaml_file.Document`, whose places errors then name.
            notes: Notes to add to.

        Raises:
            SpecError: Something is malformed.
        """
        notes = Notes() if notes is None else notes
        if isinstance(source, yaml_file.Document):
            try:
                return self.read(_mapping(source.data), notes)
            except InputError as error:
                error.found = _YAML_WORDS.get(error.found, error.found)
                raise error.at(source.source, *source.place(error.path)) from None
        config = _mapping(source)
        if is_legacy(config):
            # The modules that read it are loaded for it alone.
            from tune_bridge.dialects.legacy import LegacyDialect

            return LegacyDialect().read(config, notes)
        native = read_native(config, notes)
        controller = config.get("controller")
        if not isinstance(controller, Mapping) or "tune" not in controller:
            return Translation(native, notes)
        experiment = apply_carry(
            controller["tune"],
            native,
            config,
            write_native=lambda changed: write_native(changed, Notes()),
            write_node=lambda node, path: write_parameter(node, path, Notes()),
            read_node=lambda entry, path: read_parameter(
                entry, path, grid=config.get("method") == "grid"
            ),
            notes=notes,
        )
        return Translation(experiment, notes)

    @no_collection()
    def write(self, experiment: Experiment) -> Translation[dict[str, Any]]:
        """Writes a sweep config: native keys, and the carry for what they leave out.

        Raises:
            SpecError: W&B forbids something that the experiment has.
            UnsupportedError: There is no sweep near it.
        """
        notes = Notes()
        config = write_native(experiment, notes)
        carry = make_carry(experiment, read_native(config, Notes()))
        if carry:
            config["controller"] = {"type": "cloud", **config.get("controller", {}), "tune": carry}
        return Translation(config, notes)

    def source(self, experiment: Experiment) -> Translation[str]:
        """Writes the text of a sweep file."""
        written = self.write(experiment)
        return Translation(yaml_file.dump(written.value), written.notes)


def is_legacy(config: Mapping[str, Any]) -> bool:
    """Whether this is a ``tune:`` document, as wandb 0.8 to 0.10 wrote them."""
    return "tune" in config and "parameters" not in config


_KINDS = {type(None): "nothing", list: "a list", tuple: "a tuple"}


def _mapping(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise SpecError(
            "not a sweep",
            found=_KINDS.get(type(data)) or shorten(data),
            expected="a mapping with method and parameters",
        )
    return data
