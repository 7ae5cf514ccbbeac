"""GraphQL without a schema: a document is walked over plain values.

Clients of many versions ask for fields that come and go. What this server has is a dict; a field it
does not have is null, and a root field it does not have is an error that names it. A value may be a
function of the field's arguments, so that what is costly is made for those who ask.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    parse,
)
from graphql.language import ListValueNode, NullValueNode, ObjectValueNode
from graphql.utilities import value_from_ast_untyped

from tune_bridge.errors import InputError, TuneBridgeError

__all__ = ["Call", "GoneError", "execute"]

Resolver = Callable[["Call"], Any]

_log = logging.getLogger("tune_bridge.wandb")

MAX_TOKENS = 20_000
MAX_DEPTH = 20
MAX_FIELDS = 2_000


class GoneError(TuneBridgeError):
    """What was asked for is gone for good; the client gets a 404 and stops asking."""


class Call(dict[str, Any]):
    """The arguments of a field; ``input`` is unpacked. Those that are null are left out.

    Attributes:
        base: The address of this server as the client knows it, without a slash at the end.
        lost: To be called when the client has hung up before it got the answer.
    """

    base: str = ""
    lost: list[Callable[[], None]]


class _Document:
    """One operation of a document, with what its selections need."""

    def __init__(
        self,
        text: str,
        variables: Mapping[str, Any],
        name: str | None,
        base: str,
        lost: list[Callable[[], None]],
    ) -> None:
        try:
            document = parse(text, max_tokens=MAX_TOKENS, no_location=True)
        except GraphQLError as error:
            raise InputError(f"the GraphQL document is malformed: {error.message}") from None
        except RecursionError:
            raise InputError("the GraphQL document is nested too deeply") from None
        self.fragments = {
            node.name.value: node
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        found = [
            node
            for node in document.definitions
            if isinstance(node, OperationDefinitionNode)
            and (name is None or (node.name is not None and node.name.value == name))
        ]
        if len(found) != 1:
            raise InputError(
                "the GraphQL document must have one operation to execute", found=str(len(found))
            )
        self.operation = found[0]
        self.name = found[0].name.value if found[0].name else "(unnamed)"
        self.base, self.lost = base, lost
        self.variables = dict(variables)
        for definition in found[0].variable_definitions or ():
            key = definition.variable.name.value
            if key not in self.variables and definition.default_value is not None:
                self.variables[key] = value_from_ast_untyped(definition.default_value)
        self._count = 0
        self._measure(self.operation.selection_set, 1)

    def _measure(self, selections: SelectionSetNode, depth: int) -> None:
        """Refuses a document that would cost too much, before anything is done."""
        if depth > MAX_DEPTH:
            raise InputError("the query is nested too deeply", expected=f"{MAX_DEPTH} levels")
        for node in selections.selections:
            self._count += 1
            if self._count > MAX_FIELDS:
                raise InputError("the query has too many fields", expected=f"{MAX_FIELDS} fields")
            inner: SelectionSetNode | None = None
            if isinstance(node, FragmentSpreadNode):
                inner = self._fragment(node).selection_set
            elif isinstance(node, FieldNode | InlineFragmentNode):
                inner = node.selection_set
            if inner is not None:
                self._measure(inner, depth + 1)

    def _fragment(self, node: FragmentSpreadNode) -> FragmentDefinitionNode:
        found = self.fragments.get(node.name.value)
        if found is None:
            raise InputError("the query uses an unknown fragment", found=node.name.value)
        return found

    def fields(self, selections: SelectionSetNode) -> list[FieldNode]:
        """The fields of a selection, fragments and directives resolved."""
        found: list[FieldNode] = []
        for node in selections.selections:
            if not self._included(node):
                continue
            if isinstance(node, FieldNode):
                found.append(node)
            elif isinstance(node, FragmentSpreadNode):
                found += self.fields(self._fragment(node).selection_set)
            elif isinstance(node, InlineFragmentNode):
                found += self.fields(node.selection_set)
        return found

    def _included(self, node: Any) -> bool:
        for directive in node.directives or ():
            kind = directive.name.value
            given = {item.name.value: self.value(item.value) for item in directive.arguments or ()}
            if kind in ("include", "skip") and bool(given.get("if")) is (kind == "skip"):
                return False
        return True

    def value(self, node: ValueNode) -> Any:
        """What an argument says; variables that were not given are null."""
        if isinstance(node, VariableNode):
            return self.variables.get(node.name.value)
        if isinstance(node, NullValueNode):
            return None
        if isinstance(node, ListValueNode):
            return [self.value(item) for item in node.values]
        if isinstance(node, ObjectValueNode):
            return {item.name.value: self.value(item.value) for item in node.fields}
        return value_from_ast_untyped(node)

    def call(self, node: FieldNode) -> Call:
        """The arguments of a field."""
        given = {item.name.value: self.value(item.value) for item in node.arguments or ()}
        inner = given.pop("input", None)
        if isinstance(inner, Mapping):
            given.update(inner)
        made = Call({key: value for key, value in given.items() if value is not None})
        made.base, made.lost = self.base, self.lost
        return made

    def select(self, value: Any, selections: SelectionSetNode) -> Any:
        """The selected fields of a value; of each item of a list."""
        if value is None:
            return None
        if isinstance(value, list | tuple):
            return [self.select(item, selections) for item in value]
        if not isinstance(value, Mapping):
            return value
        made: dict[str, Any] = {}
        for node in self.fields(selections):
            found = value.get(node.name.value)
            if callable(found):
                found = found(self.call(node))
            if node.selection_set is not None:
                found = self.select(found, node.selection_set)
            key = _key(node)
            before = made.get(key)
            if isinstance(before, dict) and isinstance(found, dict):
                found = {**before, **found}
            made[key] = found
        return made


def _key(node: FieldNode) -> str:
    return node.alias.value if node.alias else node.name.value


def execute(
    text: str,
    variables: Mapping[str, Any],
    roots: Mapping[str, Resolver],
    *,
    name: str | None = None,
    base: str = "",
    lost: list[Callable[[], None]] | None = None,
) -> dict[str, Any]:
    """Executes the one operation of a document, or the one that is named.

    Args:
        text: The document.
        variables: By name.
        roots: What each root field does, of queries and mutations alike.
        name: Of the operation.
        base: See `Call`.
        lost: See `Call`; filled here.

    Returns:
        ``{"data": ...}``, and ``errors`` when a root field failed; it is null then.

    Raises:
        GoneError: What the client asks for is gone.
    """
    try:
        document = _Document(text, variables, name, base, [] if lost is None else lost)
    except InputError as error:
        return {"data": None, "errors": [_error(error)]}
    data: dict[str, Any] = {}
    errors: list[dict[str, Any]] = []
    for node in document.fields(document.operation.selection_set):
        field, key = node.name.value, _key(node)
        resolver = roots.get(field)
        data[key] = None
        if field == "__typename":
            data[key] = document.operation.operation.value.capitalize()
        elif resolver is None:
            _log.warning("wandb asked for %s, field %s: not known here", document.name, field)
            message = f"this server does not know the operation {document.name} (field {field})"
            errors.append({"message": message, "path": [key]})
        else:
            try:
                found = resolver(document.call(node))
                if node.selection_set is not None:
                    found = document.select(found, node.selection_set)
                data[key] = found
            except GoneError:
                raise
            except TuneBridgeError as error:
                _log.info("%s: %s", document.name, error)
                errors.append({**_error(error), "path": [key]})
            except Exception:  # noqa: BLE001 - a 500 looks like a hang to this client
                _log.exception("%s failed", document.name)
                message = f"the server failed at {document.name}; its log says more"
                errors.append({"message": message, "path": [key]})
    return {"data": data, "errors": errors} if errors else {"data": data}


def _error(error: TuneBridgeError) -> dict[str, Any]:
    return {"message": str(error)}
