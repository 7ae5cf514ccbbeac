"""How values are shown and sent: numbers, times, strict JSON, flat configs, YAML."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import yaml

__all__ = [
    "absolute_time",
    "duration",
    "flatten",
    "is_number",
    "json_bytes",
    "number",
    "plain",
    "relative_time",
    "text",
    "to_yaml",
]

_SPELLED = {math.inf: "Infinity", -math.inf: "-Infinity"}


def is_number(value: Any) -> bool:
    """Whether a value is a number, finite or not; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """A value as strict JSON holds it: not finite ones are "NaN", "Infinity", "-Infinity"."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return _SPELLED.get(value, "NaN")
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


def json_bytes(value: Any) -> bytes:
    """Strict JSON in UTF-8."""
    data = plain(value)
    return json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "backslashreplace"
    )


def number(value: float) -> str:
    """A number with six significant digits: ``0.000123457``, ``1.5e-7``, ``12345678``."""
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else f"{value:.6g}"
    if not math.isfinite(value):
        return str(plain(value))
    shown = f"{value:.6g}"
    mantissa, mark, exponent = shown.partition("e")
    return f"{mantissa}e{int(exponent)}" if mark else shown


def text(value: Any, width: int | None = None) -> str:
    """Any value for people; cut to `width` characters with an ellipsis."""
    if value is None:
        shown = "null"
    elif isinstance(value, bool):
        shown = "true" if value else "false"
    elif isinstance(value, str):
        shown = value
    elif is_number(value):
        shown = number(value)
    else:
        shown = json.dumps(plain(value), ensure_ascii=False)
    return shown if width is None or len(shown) <= width else shown[: width - 1] + "…"


def relative_time(then: float, now: float | None = None) -> str:
    """``just now``, ``5 min ago``, ``3 h ago``, ``2 days ago``."""
    past = (time.time() if now is None else now) - then
    if past < 5:
        return "just now"
    if past < 60:
        return f"{int(past)} s ago"
    if past < 3600:
        return f"{int(past // 60)} min ago"
    if past < 86400:
        return f"{int(past // 3600)} h ago"
    days = int(past // 86400)
    return "1 day ago" if days == 1 else f"{days} days ago"


def absolute_time(then: float) -> str:
    """Local date and time with its zone."""
    try:
        return datetime.fromtimestamp(then).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except (OverflowError, OSError, ValueError):
        return number(then)


def duration(seconds: float) -> str:
    """``12 s``, ``4 min 05 s``, ``3 h 20 min``, ``2 d 4 h``."""
    whole = int(max(seconds, 0))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{path}."))
        else:
            flat[path] = value
    return flat


class _Dumper(yaml.SafeDumper):
    """Mappings as blocks, lists of plain values in one line: how people write sweep files."""


def _represent_list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    flow = not any(isinstance(item, Mapping | list) for item in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)


_Dumper.add_representer(list, _represent_list)


def to_yaml(config: Mapping[str, Any]) -> str:
    """A config as YAML in its own order; what YAML cannot say is shown as text."""
    try:
        return yaml.dump(
            _builtin(config),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=False,
            width=88,
        )
    except yaml.YAMLError:
        return json.dumps(plain(config), indent=2, ensure_ascii=False)


def _builtin(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _builtin(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_builtin(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)
