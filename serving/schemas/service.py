"""What the service tells about itself: alive, ready, healthy, and where things are."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from serving.schemas.fields import ModelUsed, Response


class Liveness(Response):
    """The process answers."""

    status: Literal["alive"] = "alive"


class RunnerReadiness(Response):
    """Whether one runner answers with a model."""

    ready: bool
    model: ModelUsed | None = Field(description="The model that answered the runner's warm-up prediction.")
    detail: str = Field(description="Why it is not ready; empty when it is.")


class Readiness(Response):
    """Every runner has answered a warm-up prediction."""

    status: Literal["ready"] = "ready"
    runners: dict[str, RunnerReadiness] = Field(description="By the runner's name.")


class ServiceInfo(Response):
    """Name and version of this service."""

    name: str
    version: str


class Health(Response):
    """How the service is."""

    status: Literal["ok", "degraded"] = Field(description="`degraded` when a runner is not ready.")
    service: ServiceInfo
    runners: dict[str, RunnerReadiness] = Field(description="By the runner's name.")
    time: datetime


class Link(Response):
    """One thing that can be called."""

    operation: str = Field(description="The `operationId` in the OpenAPI document.")
    method: Literal["GET", "POST", "PUT", "DELETE"]
    href: str
    summary: str


class Index(Response):
    """What is here."""

    service: ServiceInfo
    method: str = Field(description="Method of this request.")
    url: str = Field(description="URL of this request.")
    time: datetime
    links: list[Link]
