"""YAML in and out: safe, with the place of every node, and with YAML 1.2's numbers.

PyYAML's C parser does the work. Three things differ from `yaml.safe_load`: ``1e-5`` is a number, as
in YAML 1.2 (YAML 1.1 reads a string); a key that stands twice in a mapping is an error; dates stay
text, because a sweep travels as JSON. ``yes``, ``no``, ``on`` and ``off`` stay booleans, as W&B's
client reads them.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from tune_bridge.errors import SpecError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "Document", "dump", "load"]

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
        places: Dotted path -> (line, column), one-based; list items as ``values[2]``.
        texts: Path -> spelling of the numbers that a reader of YAML 1.1, such as W&B's client,
            takes for text: ``1e-5``.
    """

    def __init__(
        self,
        data: Any,
        source: str,
        places: dict[str, tuple[int, int]],
        texts: dict[str, str] | None = None,
    ) -> None:
        self.data = data
        self.source = source
        self.places = places
        self.texts = texts or {}

    def place(self, path: str) -> tuple[int, int] | tuple[None, None]:
        """The place of `path`, or of the nearest enclosing node that is known."""
        while path:
            if path in self.places:
                return self.places[path]
            cut = max(path.rfind("."), path.rfind("["))
            path = path[:cut] if cut > 0 else ""
        return self.places.get("", (None, None))


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
            _check_depth(text, source)
            node = loader.get_single_node()
            builder = _Builder(loader, source)
            data = builder.build(node, "", 0) if node is not None else None
            return Document(data, source, builder.places, builder.texts)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, source) from None
    except yaml.YAMLError as error:
        problem = str(error).splitlines()[0]
        raise SpecError(f"not YAML: {problem}", source=source) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8 text: {error.reason}", source=source) from None


def _check_depth(text: str | bytes, source: str) -> None:
    """Counts nesting on the event stream, so that a deep file cannot exhaust the C stack."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    openers = max(raw.count(b"[") + raw.count(b"{"), 2 * raw.count(b"- -"), raw.count(b"? "))
    if openers <= MAX_DEPTH and b"\n" + b" " * MAX_DEPTH not in raw:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_SweepLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                mark: Any = event.start_mark
                raise SpecError(
                    f"nested more than {MAX_DEPTH} levels deep",
                    source=source,
                    line=mark.line + 1,
                    column=mark.column + 1,
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


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
    """Turns YAML nodes into plain data and notes where each stands."""

    def __init__(self, loader: Any, source: str) -> None:
        self.loader = loader
        self.source = source
        self.places: dict[str, tuple[int, int]] = {}
        self.texts: dict[str, str] = {}
        self.nodes = 0

    def build(self, node: Any, path: str, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise self._error(node, path, "the file unfolds to more than a sweep can hold")
        mark = node.start_mark
        self.places.setdefault(path, (mark.line + 1, mark.column + 1))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag not in ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
            raise self._error(node, path, f"a tag that is not plain data: {node.tag}")
        if isinstance(node, yaml.SequenceNode):
            return [self.build(n, f"{path}[{i}]", depth + 1) for i, n in enumerate(node.value)]
        return self._mapping(node, path, depth)

    def _scalar(self, node: Any, path: str) -> Any:
        if node.tag == _FLOAT and _EXPONENT.match(node.value):
            if not _EXPONENT_1_1.match(node.value):
                self.texts[path] = node.value
            return float(node.value)
        try:
            value = self.loader.construct_object(node)
        except (yaml.constructor.ConstructorError, ValueError, OverflowError) as error:
            problem = getattr(error, "problem", None) or str(error)
            raise self._error(node, path, problem) from None
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise self._error(node, path, f"a {type(value).__name__} has no place in a sweep")

    def _mapping(self, node: Any, path: str, depth: int) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self._key(key_node, path)
            if key in seen:
                raise self._error(
                    key_node,
                    path,
                    f"the key {key!r} stands twice in one mapping",
                    "remove one of them; only one would count",
                )
            seen.add(key)
        self.loader.flatten_mapping(node)
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            below = f"{path}.{key}" if path else str(key)
            mark = key_node.start_mark
            self.places[below] = (mark.line + 1, mark.column + 1)
            result[key] = self.build(value_node, below, depth + 1)
        return result

    def _key(self, node: Any, path: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, path, "a key that is not plain text")
        return self._scalar(node, path)

    def _error(self, node: Any, path: str, message: str, hint: str = "") -> SpecError:
        mark = node.start_mark
        return SpecError(
            message,
            path=path,
            source=self.source,
            line=mark.line + 1,
            column=mark.column + 1,
            hint=hint,
        )


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
