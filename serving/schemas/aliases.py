"""Bodies of the operations on the aliases of a model."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models.store.gate import MARGIN
from serving.schemas.fields import EXAMPLE_MODEL, EXAMPLE_VERSION, VERSION_PATTERN, Request, Response

MAX_REASON_CHARACTERS = 500


class AliasRequest(Request):
    """The version that an alias is to name."""

    version: str = Field(
        pattern=VERSION_PATTERN, description="A version of the model in the store, or an alias of one."
    )
    margin: float = Field(
        MARGIN,
        ge=0,
        allow_inf_nan=False,
        description="How much worse the main metric may be than that of the version that the alias names now.",
    )
    force: bool = Field(False, description="Override the quality gate; requires `reason`. The history records it.")
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARACTERS)] | None = Field(
        None, description="Why, for the history.", examples=["The present version leaks the target."]
    )

    @model_validator(mode="after")
    def _has_reason(self) -> Self:
        if self.force and self.reason is None:
            raise PydanticCustomError("reason", "force requires a reason")
        return self


class ModelAlias(Response):
    """An alias of a version of a model."""

    name: str = Field(description="Name of the model.", examples=[EXAMPLE_MODEL])
    alias: str = Field(examples=["champion"])
    version: str = Field(description="The version that it names.", examples=[EXAMPLE_VERSION])
    fault: str | None = Field(description="Why that version cannot be used, such as a deleted one.")


class AliasChange(Response):
    """One change of an alias."""

    version: str | None = Field(description="The version that it named since; null for its removal.")
    action: Literal["set", "promote", "rollback", "remove"]
    at: datetime
    author: str = Field(description="The key, the token's subject or the user of the machine.", examples=["key:ci"])
    reason: str
    overridden: str = Field(description="The objection of the quality gate that was overridden; empty without one.")


class Alias(ModelAlias):
    """An alias of a version of a model, with its changes."""

    history: list[AliasChange] = Field(description="Oldest first.")


class AliasList(Response):
    """The aliases of a model."""

    name: str = Field(examples=[EXAMPLE_MODEL])
    aliases: list[Alias]
