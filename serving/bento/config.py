"""What the two service classes are told of the settings, and the BentoML configuration that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The part of the settings that the engine needs."""

    request_timeout_s: float = 30.0
    body_timeout_s: float = 20.0
    job_transfer_timeout_s: float = 600.0
    shutdown_grace_s: float = 20.0
    log_level: str = "INFO"
    access_log: bool = True
    cors_origins: tuple[str, ...] = ()


class _Source(Protocol):
    @property
    def request_timeout_s(self) -> float: ...
    @property
    def body_timeout_s(self) -> float: ...
    @property
    def job_transfer_timeout_s(self) -> float: ...
    @property
    def shutdown_grace_s(self) -> float: ...
    @property
    def log_level(self) -> str: ...
    @property
    def access_log(self) -> bool: ...
    @property
    def cors_origins(self) -> tuple[str, ...]: ...


def engine_settings(settings: _Source) -> EngineSettings:
    """The engine's part of `settings`."""
    return EngineSettings(
        request_timeout_s=settings.request_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        job_transfer_timeout_s=settings.job_transfer_timeout_s,
        shutdown_grace_s=settings.shutdown_grace_s,
        log_level=settings.log_level,
        access_log=settings.access_log,
        cors_origins=settings.cors_origins,
    )


def service_config(settings: _Source, *, threads: int = 1) -> dict[str, Any]:  # Any: BentoML's service configuration
    """Keyword arguments of `@bentoml.service` for a runner or the gateway.

    BentoML's own limits are set wide: the engine's queue, deadline and log stand in their place.
    """
    return {
        "workers": 1,
        "threads": threads,
        "traffic": {"timeout": max(60.0, 2 * settings.request_timeout_s), "max_concurrency": 1_000_000},
        "metrics": {"enabled": True},
        "logging": {"access": {"enabled": False}},
    }
