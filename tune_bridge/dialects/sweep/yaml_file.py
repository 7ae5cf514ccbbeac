"""YAML in and out: safe, with the place of every node, and with YAML 1.2's numbers.

PyYAML's C parser does the work. Three things differ from `yaml.safe_load`: ``1e-5`` is a number, as
in YAML 1.2 (YAML 1.1 reads a string); a key that stands twice in a mapping is an error; dates stay
text, because a sweep travels as JSON. ``yes``, ``no``, ``on`` and ``off`` stay booleans, as W&B's
client reads them.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import yaml

from tune_bridge.errors import SpecError
from tune_bridge.garbage import no_collection

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "Document", "dump", "load", "text_for"]

MAX_BYTES = 16 * 2**20
MAX_NODES = 300_000
MAX_DEPTH = 100
"""Limits of a file; they bound time and memory for a hostile one, aliases counted as often as
used."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_EXPONENT = re.compile(r"^[-+]?(?:[0-9]+|[0-9]*\.[0-9]+|[0-9]+\.[0-9]*)[eE][-+]?[0-9]+$")
_EXPONENT_1_1 = re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)[eE][-+][0-9]+$")
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_FLOAT = "tag:yaml.org,2002:float"
_TEXT = "tag:yaml.org,2002:str"
_SEQUENCE = "tag:yaml.org,2002:seq"
_MAPPING = "tag:yaml.org,2002:map"
_MAX_EVENTS = 4 * MAX_NODES
_TOO_MUCH = "the file unfolds to more than a sweep can hold"


class _SweepLoader(_Loader):  # type: ignore[misc]
    """Resolves YAML 1.2 floats and no timestamps."""


class _SweepDumper(_Dumper):  # type: ignore[misc]
    """Quotes text that any reader would take for a number or a date; shared values appear twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_SweepLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag != _TIMESTAMP]
    for first, rows in _Loader.yaml_implicit_resolvers.items()
}
for _class in (_SweepLoader, _SweepDumper):
    _class.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))


class Document:
    """A parsed file.

    Attributes:
        data: The plain Python data.
        source: The file's name, for messages.
        texts: Path -> spelling of the numbers that a reader of YAML 1.1, such as W&B's client,
            takes for text: ``1e-5``.
    """

    def __init__(
        self, data: Any, source: str, marks: dict[str, Any], texts: dict[str, str] | None = None
    ) -> None:
        self.data = data
        self.source = source
        self.texts = texts or {}
        self._marks = marks

    def place(self, path: str) -> tuple[int, int] | tuple[None, None]:
        """Line and column, one-based, of `path` (``a.values[2]``).

        Or those of the nearest enclosing node that is known.
        """
        while path:
            if path in self._marks:
                return _place(self._marks[path])
            cut = max(path.rfind("."), path.rfind("["))
            path = path[:cut] if cut > 0 else ""
        mark = self._marks.get("")
        return (None, None) if mark is None else _place(mark)


def _place(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


@no_collection()
def load(text: str | bytes, source: str = "<string>") -> Document:
    """Parses one YAML document.

    Args:
        text: The file's content.
        source: Its name, for messages.

    Raises:
        SpecError: Not YAML, a key twice, a tag that is not plain data, or a limit exceeded; with
            line and column.
    """
    if len(text) > MAX_BYTES:
        raise SpecError(
            "the file is too large for a sweep",
            source=source,
            found=f"{len(text):,} bytes",
            expected=f"at most {MAX_BYTES:,}",
        )
    try:
        loader = _SweepLoader(text)
        try:
            builder = _Builder(loader, _events(loader, source), source)
            data = builder.document()
            return Document(data, source, builder.marks, builder.texts)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, source) from None
    except yaml.YAMLError as error:
        problem = str(error).splitlines()[0]
        raise SpecError(f"not YAML: {problem}", source=source) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8 text: {error.reason}", source=source) from None


def _events(loader: Any, source: str) -> list[Any]:
    """The events of the file: the scanner needs no stack, so that a deep file cannot exhaust it."""
    events: list[Any] = []
    depth = 0
    while (event := loader.get_event()) is not None:
        kind = type(event)
        if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            depth += 1
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            depth -= 1
        if depth > MAX_DEPTH or len(events) > _MAX_EVENTS:
            line, column = _place(event.start_mark)
            what = f"nested more than {MAX_DEPTH} levels deep" if depth > MAX_DEPTH else _TOO_MUCH
            raise SpecError(what, source=source, line=line, column=column)
        events.append(event)
    return events


def _syntax_error(error: yaml.MarkedYAMLError, text: str | bytes, source: str) -> SpecError:
    mark: Any = error.problem_mark or error.context_mark
    problem = (error.problem or "cannot be parsed").strip()
    hint = error.context or ""
    if "\\t" in problem or "tab" in problem or "'\\t'" in problem:
        problem, hint = "a tab where YAML needs spaces", "indent with spaces"
    elif mark is not None:
        lines = (text.decode("utf-8", "replace") if isinstance(text, bytes) else text).splitlines()
        line = lines[mark.line] if mark.line < len(lines) else ""
        if "\t" in line[: len(line) - len(line.lstrip())]:
            problem, hint = "a tab where YAML needs spaces", "indent with spaces"
    return SpecError(
        f"not YAML: {problem}",
        source=source,
        line=mark.line + 1 if mark else None,
        column=mark.column + 1 if mark else None,
        hint=hint,
    )


class _Builder:
    """Turns events into plain data in one pass, and notes where each value stands.

    An alias is built anew from the events of its anchor, so that what it unfolds to counts.
    """

    def __init__(self, loader: Any, events: list[Any], source: str) -> None:
        self.loader = loader
        self.events = events
        self.source = source
        self.at = 0
        self.marks: dict[str, Any] = {}
        self.texts: dict[str, str] = {}
        self.nodes = 0
        self._anchors: dict[str, int] = {}
        self._plain: dict[str, Any] = {}

    def document(self) -> Any:
        """The one document; None for an empty file."""
        self.at = 1  # after the start of the stream
        if type(self.events[self.at]) is yaml.StreamEndEvent:
            return None
        self.at += 1
        data = self.value("", 0)
        event = self.events[self.at + 1]
        if type(event) is not yaml.StreamEndEvent:
            raise self._error(event, "", "not YAML: a second document begins", "keep one document")
        return data

    def value(self, path: str, depth: int) -> Any:
        """Builds the value whose first event is next."""
        index = self.at
        event = self.events[index]
        kind = type(event)
        self.at = index + 1
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise self._error(event, path, _TOO_MUCH)
        if kind is yaml.AliasEvent:
            return self._aliased(event, path, depth)
        if event.anchor is not None and self._anchors.setdefault(event.anchor, index) != index:
            raise self._error(event, path, f"not YAML: the anchor {event.anchor!r} is there twice")
        self.marks.setdefault(path, event.start_mark)
        if kind is yaml.ScalarEvent:
            return self._scalar(event, path)
        wanted = _SEQUENCE if kind is yaml.SequenceStartEvent else _MAPPING
        if event.tag not in (None, "!", wanted):
            raise self._error(event, path, f"a tag that is not plain data: {event.tag}")
        if wanted is _MAPPING:
            return self._mapping(path, depth)
        items: list[Any] = []
        while type(self.events[self.at]) is not yaml.SequenceEndEvent:
            items.append(self.value(f"{path}[{len(items)}]", depth + 1))
        self.at += 1
        return items

    def _aliased(self, event: Any, path: str, depth: int) -> Any:
        index = self._anchors.get(event.anchor)
        if index is None:
            raise self._error(event, path, f"not YAML: undefined alias {event.anchor!r}")
        after, self.at = self.at, index
        value = self.value(path, depth + 1)
        self.at = after
        return value

    def _mapping(self, path: str, depth: int) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        while type(event := self.events[self.at]) is not yaml.MappingEndEvent:
            self.at += 1
            if type(event) is yaml.ScalarEvent and event.implicit[0] and event.value == "<<":
                merged |= self._merge(path, depth)
                continue
            key = self._key(event, path)
            if key in own:
                raise self._error(
                    event,
                    path,
                    f"the key {key!r} stands twice in one mapping",
                    "remove one of them; only one would count",
                )
            below = f"{path}.{key}" if path else str(key)
            self.marks[below] = event.start_mark
            own[key] = self.value(below, depth + 1)
        self.at += 1
        return {**merged, **own} if merged else own

    def _merge(self, path: str, depth: int) -> dict[Any, Any]:
        """What ``<<`` brings in: a mapping, or a list of them, of which the first one wins."""
        event = self.events[self.at]
        found = self.value(path, depth + 1)
        result: dict[Any, Any] = {}
        for item in reversed(found if isinstance(found, list) else [found]):
            if not isinstance(item, dict):
                hint = "<< takes an alias of a mapping"
                raise self._error(event, path, "<< with something that is no mapping", hint)
            result |= item
        return result

    def _key(self, event: Any, path: str) -> Any:
        if type(event) is yaml.AliasEvent and event.anchor in self._anchors:
            event = self.events[self._anchors[event.anchor]]
        if type(event) is not yaml.ScalarEvent:
            raise self._error(event, path, "a key that is not plain text")
        if event.anchor is not None:
            self._anchors.setdefault(event.anchor, self.at - 1)
        return self._scalar(event, path)

    def _scalar(self, event: Any, path: str) -> Any:
        text: str = event.value
        if event.tag in (None, "!"):
            if not event.implicit[0]:
                return text
            if text in self._plain:
                value = self._plain[text]
            else:
                value = self._plain[text] = self._construct(event, self._resolve(text), path)
            if type(value) is float and _EXPONENT.match(text) and not _EXPONENT_1_1.match(text):
                self.texts[path] = text
            return value
        return self._construct(event, event.tag, path)

    def _resolve(self, text: str) -> str:
        rows = self.loader.yaml_implicit_resolvers
        for tag, pattern in (*rows.get(text[:1], ()), *rows.get(None, ())):
            if pattern.match(text):
                return str(tag)
        return _TEXT

    def _construct(self, event: Any, tag: str, path: str) -> Any:
        if tag == _TEXT:
            return event.value
        if tag == _FLOAT and _EXPONENT.match(event.value):
            return float(event.value)
        try:
            value = self.loader.construct_object(yaml.ScalarNode(tag, event.value))
        except yaml.constructor.ConstructorError:
            raise self._error(event, path, f"a tag that is not plain data: {tag}") from None
        except (ValueError, OverflowError) as error:
            raise self._error(event, path, str(error)) from None
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise self._error(event, path, f"a {type(value).__name__} has no place in a sweep")

    def _error(self, event: Any, path: str, message: str, hint: str = "") -> SpecError:
        line, column = _place(event.start_mark)
        return SpecError(
            message, path=path, source=self.source, line=line, column=column, hint=hint
        )


@no_collection()
def dump(data: Any) -> str:
    """Writes plain data as YAML, in the order of its keys, for `load` and W&B's client alike."""
    text: str = yaml.dump(
        data,
        Dumper=_SweepDumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=100,
    )
    return text


def text_for(path: str | os.PathLike[str], data: Any) -> str:
    """The text of a file: JSON where its name ends so, YAML otherwise; `load` reads both.

    Args:
        path: Where it is to be written.
        data: Plain data.

    Raises:
        SpecError: JSON has no such number (infinity, NaN).
    """
    if not os.fspath(path).lower().endswith(".json"):
        return dump(data)
    try:
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        raise SpecError(
            "JSON has no infinity and no NaN", source=os.fspath(path), hint="write YAML instead"
        ) from None
