"""The JSON schemas of the OpenAPI document, one component for each pydantic type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from serving.http.operation import Content, JsonSchema, Operation, Schema
from serving.schemas.problem_types import Problem

_REF = "#/components/schemas/{model}"


class ComponentSchemas:
    """The schemas of the bodies of all operations, with one component for each type."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        contents = [(body, "validation") for each in operations for body in (each.body, *each.more_bodies) if body]
        responses = [content for each in operations for content in (each.answer, *each.more_answers)]
        contents += [(content, "serialization") for content in responses if content]
        adapters: dict[int, tuple[int, JsonSchemaMode, TypeAdapter[Any]]] = {}
        self._schemas: dict[int, JsonSchema] = {}
        self.components: dict[str, JsonSchema] = {}
        self._of: dict[int, Schema] = {id(content): content.schema() for content, _ in contents if content}
        for content, mode in contents:
            schema = self._of[id(content)]
            if isinstance(schema, dict):
                self._add(schema)
            else:
                adapters[id(schema)] = (id(schema), mode, _adapter(schema))  # type: ignore[assignment]  # two literals
        problem = (id(Problem), "serialization", _adapter(Problem))
        by_key, shared = TypeAdapter.json_schemas([*adapters.values(), problem], ref_template=_REF)  # type: ignore[list-item]
        self._schemas |= {key: _with_component(schema, self.components) for (key, _), schema in by_key.items()}
        self.components |= shared.get("$defs", {})
        for content, _ in contents:
            if content and content.refine:
                content.refine(self.components)

    def of(self, content: Content) -> JsonSchema:
        """Return the schema of a body, or a reference to its component."""
        return self._schemas[id(self._of[id(content)])]

    def problem(self) -> JsonSchema:
        """Return the schema of problem documents."""
        return self._schemas[id(Problem)]

    def _add(self, schema: JsonSchema) -> None:
        self._schemas[id(schema)] = _with_component(schema, self.components)


def _adapter(schema: type[BaseModel] | TypeAdapter[Any]) -> TypeAdapter[Any]:
    return schema if isinstance(schema, TypeAdapter) else TypeAdapter(schema)


def _with_component(schema: JsonSchema, components: dict[str, JsonSchema]) -> JsonSchema:
    """Add `schema` to the components if it has a title, and return a reference to it; else return it unchanged."""
    if "$ref" in schema or "title" not in schema:
        return schema
    components[schema["title"]] = schema
    return {"$ref": _REF.format(model=schema["title"])}
