"""The configuration of a BentoML service that follows from the settings."""

from __future__ import annotations

from typing import Any

from bentoml._internal.configuration.containers import BentoMLContainer

from serving.bento.tracing import tracing_exporter
from serving.settings.settings import Settings


def service_config(
    settings: Settings, *, workers: int = 1, threads: int = 1
) -> dict[str, Any]:  # Any: BentoML's service configuration
    """Return keyword arguments of `@bentoml.service` for a runner or the gateway.

    BentoML's limits are set so high that the platform's queue, deadline and access log apply instead.
    """
    config = {
        "workers": workers,
        "threads": threads,
        "traffic": {"timeout": max(60.0, 2 * settings.request_timeout_s), "max_concurrency": 1_000_000},
        "metrics": {"enabled": True},
        "logging": {"access": {"enabled": False}},
    }
    if tracing_exporter():
        # BentoML replaces `tracing`, which applies to all services, by the defaults of each service.
        config["tracing"] = BentoMLContainer.tracing.get()
    return config
