"""Requests and responses of the tabular call, typed by the card of the served model.

Rows are validated into plain dictionaries keyed by column name, which may be any text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, TypeAdapter, WithJsonSchema
from typing_extensions import TypedDict

from models.card import Card, Column, Scalar
from models.limits import MAX_NUMBER, MAX_SAFE_INTEGER, MAX_TEXT_CHARACTERS
from models.tables.dates import seconds_of
from serving.http.operation import JsonSchema
from serving.kinds.tabular.answers.form import AnswerForm
from serving.kinds.tabular.answers.registry import answer_form

Row = dict[str, Scalar]
# Whether columns that the model does not have are left out, or the request is refused.
ExtraColumns = Literal["ignore", "refuse"]


@dataclass(frozen=True, slots=True)
class TabularSchema:
    """The types of one card's call: request, response, and an example row."""

    card: Card
    request: TypeAdapter[dict[Literal["instances"], list[Row]]]
    form: AnswerForm
    example_row: Row

    @property
    def answer(self) -> type[BaseModel]:
        """The type of the response."""
        return self.form.response

    def refine(self, components: dict[str, JsonSchema]) -> None:
        """Narrow the JSON schema of a predicted row, in place, to what the card allows."""
        self.form.refine(components[self.form.row.__name__])


def tabular_schema(card: Card, *, max_rows: int) -> TabularSchema:
    """Return the types of `card`'s call, for at most `max_rows` rows."""
    return TabularSchema(
        card=card,
        request=tabular_request(card, max_rows=max_rows),
        form=answer_form(card),
        example_row={column.name: _example(column) for column in card.inputs},
    )


def tabular_request(
    card: Card, *, max_rows: int, extra: ExtraColumns = "refuse"
) -> TypeAdapter[dict[Literal["instances"], list[Row]]]:
    """Return the type of a request with at most `max_rows` rows. Columns that the model does not have are `extra`."""
    row = _typed(
        _typed_dict("Row", {column.name: _field(column) for column in card.inputs}),
        "One row of the table. The fields and their types are those of the data that the model was trained on.",
        extra="ignore" if extra == "ignore" else "forbid",
    )
    rows = Annotated[
        list[row],  # type: ignore[valid-type]  # made above
        # A thousand empty rows, 3 KB, have a fault for each column.
        FailFast(),
        Field(min_length=1, max_length=max_rows, description="The rows to predict."),
    ]
    return TypeAdapter(_typed(_typed_dict("TabularRequest", {"instances": rows}), "Rows to predict.", extra="forbid"))


def _typed_dict(name: str, fields: dict[str, Any]) -> Any:  # Any: a type made from data has no static type
    # Called through a variable: type checkers know this function as syntax only.
    make: Any = TypedDict
    return make(name, fields)


def _typed(typed_dict: Any, doc: str, *, extra: Literal["forbid", "ignore"]) -> Any:  # Any: as `_typed_dict`
    typed_dict.__pydantic_config__ = ConfigDict(extra=extra, strict=True)
    typed_dict.__doc__ = doc
    return typed_dict


def _field(column: Column) -> Any:  # Any: an annotation, made at run time
    annotation = _annotation(column)
    if column.nullable:
        annotation = annotation | None
    extra: dict[str, Any] = {} if column.example is None else {"examples": [column.example]}
    annotation = Annotated[annotation, Field(description=_description(column), **extra)]
    return annotation if column.required else NotRequired[annotation]


def _annotation(column: Column) -> Any:
    match column.kind:
        case "number":
            return Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER, allow_inf_nan=False)]
        case "integer":
            # 3.0 is an integer to JSON Schema, and to clients whose numbers are all floats; a strict int refuses it.
            whole = {"type": "integer", "minimum": -MAX_SAFE_INTEGER, "maximum": MAX_SAFE_INTEGER}
            return Annotated[
                float,
                Field(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER, multiple_of=1, allow_inf_nan=False),
                WithJsonSchema(whole),
            ]
        case "boolean":
            return bool
        case "date":
            # An `anyOf` would be a class in generated clients.
            dates = {"type": "string", "if": {"format": "date"}, "else": {"format": "date-time"}}
            return Annotated[str, Field(max_length=40), AfterValidator(_check_date), WithJsonSchema(dates)]
        case "category" if column.categories and not column.accepts_unknown:
            return Literal[column.categories]
        case _:
            return Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)]


def _check_date(text: str) -> str:
    if seconds_of(text) is None:
        raise ValueError("Input should be a date in ISO 8601, such as 2024-05-31 or 2024-05-31T12:30:00Z")
    return text


def _description(column: Column) -> str:
    parts = [column.description.rstrip(".")] if column.description else []
    if column.minimum is not None and column.maximum is not None:
        parts.append(f"{column.minimum:g} to {column.maximum:g} in the training data")
    if column.kind == "category" and column.accepts_unknown:
        parts.append(f"In the training data: {', '.join(column.categories[:20])}; other values count as unknown")
    if column.nullable:
        parts.append("null when unknown")
    return ". ".join(parts)


def _example(column: Column) -> Scalar:
    if column.example is not None or column.nullable:
        return column.example
    if column.categories:
        return column.categories[0]
    fallbacks: dict[str, Scalar] = {"boolean": True, "text": "text", "category": "text", "date": "2024-05-31"}
    return fallbacks.get(column.kind, column.minimum if column.minimum is not None else 0)
