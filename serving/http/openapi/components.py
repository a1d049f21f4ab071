"""The JSON schemas of the OpenAPI document, one component for each pydantic type."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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

    def rename(self, names: set[str], *, prefix: str) -> None:
        """Put `prefix` before the names of some components."""
        if not names:
            return
        references = {_REF.format(model=name): _REF.format(model=prefix + name) for name in names}
        self.components = {
            prefix + name if name in names else name: _renamed(schema, references)
            for name, schema in self.components.items()
        }
        self._schemas = {key: _renamed(schema, references) for key, schema in self._schemas.items()}

    def problem(self) -> JsonSchema:
        """Return the schema of problem documents."""
        return self._schemas[id(Problem)]

    def _add(self, schema: JsonSchema) -> None:
        self._schemas[id(schema)] = _with_component(schema, self.components)


class ModelSchemas:
    """The schemas of all operations. Those of one model that differ from the others of their name have its name."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        groups: dict[str, list[Operation]] = {"": []}
        for operation in operations:
            groups.setdefault(operation.model, []).append(operation)
        self._by_model = {model: ComponentSchemas(group) for model, group in groups.items()}
        self.components: dict[str, JsonSchema] = {}
        for model, schemas in self._by_model.items():
            schemas.rename(_differing(schemas.components, self.components), prefix=_camel(model))
            self.components |= schemas.components

    def of_model(self, model: str) -> ComponentSchemas:
        """Return the schemas of the operations of one model, or of those of none."""
        return self._by_model[model]


def _differing(components: dict[str, JsonSchema], others: dict[str, JsonSchema]) -> set[str]:
    """Return the components that differ from the others of their name, or refer to one that does."""
    differing = {name for name, schema in components.items() if name in others and others[name] != schema}
    while True:
        references = {_REF.format(model=name) for name in differing}
        more = {name for name, schema in components.items() if name not in differing and _refers(schema, references)}
        if not more:
            return differing
        differing |= more


def _refers(value: Any, references: set[str]) -> bool:  # Any: JSON
    if isinstance(value, dict):
        return value.get("$ref") in references or any(_refers(each, references) for each in value.values())
    return isinstance(value, list) and any(_refers(each, references) for each in value)


def _renamed(value: Any, references: Mapping[str, str]) -> Any:  # Any: JSON
    if isinstance(value, dict):
        return {key: _renamed(each, references) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, references) for each in value]
    return references.get(value, value) if isinstance(value, str) else value


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"[^a-z0-9]", name))


def _adapter(schema: type[BaseModel] | TypeAdapter[Any]) -> TypeAdapter[Any]:
    return schema if isinstance(schema, TypeAdapter) else TypeAdapter(schema)


def _with_component(schema: JsonSchema, components: dict[str, JsonSchema]) -> JsonSchema:
    """Add `schema` to the components if it has a title, and return a reference to it; else return it unchanged."""
    if "$ref" in schema or "title" not in schema:
        return schema
    components[schema["title"]] = schema
    return {"$ref": _REF.format(model=schema["title"])}
