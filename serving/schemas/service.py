"""Schemas of liveness, readiness, health and the index."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from serving.schemas.fields import ModelUsed, Response


class Liveness(Response):
    """Liveness of the process."""

    status: Literal["alive"] = "alive"


class ReplicasReady(Response):
    """Processes of a runner."""

    up: int = Field(description="Number of processes in which the model is ready.")
    number: int = Field(description="Number of processes.")


class RunnerReadiness(Response):
    """State of one model and its runner. It is ready while one process of the runner is."""

    ready: bool
    model: ModelUsed | None = Field(description="Model that answered the warm-up prediction.")
    detail: str = Field(description="Reason why the runner is not ready, or empty.")
    required: bool = Field(True, description="Whether the service is not ready while this one is not.")
    replicas: ReplicasReady | None = Field(None, description="Processes of the runner, where it has several.")


class Readiness(Response):
    """Readiness of all runners."""

    status: Literal["ready"] = "ready"
    runners: dict[str, RunnerReadiness] = Field(description="State of each runner, by name.")


class ServiceInfo(Response):
    """Name and version of this service."""

    name: str
    version: str


class Health(Response):
    """Health of the service."""

    status: Literal["ok", "degraded"] = Field(description="`degraded` if a runner is not ready, or with `faults`.")
    service: ServiceInfo
    runners: dict[str, RunnerReadiness] = Field(description="State of each runner, by name.")
    faults: dict[str, str] = Field(
        description="What the service cannot read again, by name, such as a changed file of API keys; its last good "
        "state applies. The log has the reasons."
    )
    warnings: list[str] = Field(description="What an operator has to change, such as an outdated Python; may be empty.")
    time: datetime


class Link(Response):
    """An operation."""

    operation: str = Field(description="`operationId` in the OpenAPI document.")
    method: Literal["GET", "POST", "PUT", "DELETE"]
    href: str
    summary: str


class Index(Response):
    """Index of all operations."""

    service: ServiceInfo
    method: str = Field(description="Method of this request.")
    url: str = Field(description="URL of this request.")
    time: datetime
    links: list[Link]
