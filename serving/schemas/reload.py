"""Bodies of the reload operation."""

from __future__ import annotations

from pydantic import Field

from serving.schemas.fields import VERSION_PATTERN, ModelUsed, Request, Response


class ReloadRequest(Request):
    """The version to load."""

    version: str | None = Field(
        None,
        pattern=VERSION_PATTERN,
        description="A version of the model in the store; the configured one when omitted.",
    )


class Reload(Response):
    """Result of a reload."""

    model: ModelUsed | None = Field(description="The default version now.")
    previous: ModelUsed | None = Field(description="The previous default version.")
    duration_ms: float = Field(ge=0, description="Time for loading, warm-up and replacement.")
