"""Bodies of the call that changes the version that answers."""

from __future__ import annotations

from pydantic import Field

from serving.schemas.fields import VERSION_PATTERN, ModelUsed, Request, Response


class ReloadRequest(Request):
    """Which version to serve."""

    version: str | None = Field(
        None,
        pattern=VERSION_PATTERN,
        description="A version of the model in the store; the configured one when left out.",
    )


class Reload(Response):
    """What was done."""

    model: ModelUsed | None = Field(description="The version that answers now.")
    previous: ModelUsed | None = Field(description="The version that answered before.")
    duration_ms: float = Field(ge=0, description="How long loading, warming up and swapping took.")
