"""Tracing by OpenTelemetry, as BentoML's configuration defines it, and the check of that configuration."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

from bentoml._internal.configuration.containers import BentoMLContainer
from starlette.middleware import Middleware

# The modules that BentoML imports, by exporter and protocol, and their distributions.
_EXPORTERS: Final = {
    "otlp": {
        "http": ("opentelemetry.exporter.otlp.proto.http", "opentelemetry-exporter-otlp-proto-http"),
        "grpc": ("opentelemetry.exporter.otlp.proto.grpc", "opentelemetry-exporter-otlp-proto-grpc"),
    },
    "jaeger": {
        "thrift": ("opentelemetry.exporter.jaeger.thrift", "opentelemetry-exporter-jaeger-thrift"),
        "grpc": ("opentelemetry.exporter.jaeger.proto.grpc", "opentelemetry-exporter-jaeger-proto-grpc"),
    },
    "zipkin": {"": ("opentelemetry.exporter.zipkin.json", "opentelemetry-exporter-zipkin-json")},
}


def tracing() -> list[Middleware]:
    """Return the OpenTelemetry middleware if BentoML's configuration names an exporter."""
    if not tracing_exporter():
        return []
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    return [
        Middleware(
            OpenTelemetryMiddleware,
            excluded_urls=BentoMLContainer.tracing_excluded_urls.get(),
            tracer_provider=BentoMLContainer.tracer_provider.get(),
        )
    ]


def tracing_exporter() -> str | None:
    """Return `zipkin`, `jaeger`, `otlp`, `in_memory`, or None."""
    exporter: Any = BentoMLContainer.tracing.exporter_type.get()  # Any: BentoML's configuration is untyped
    return str(exporter) if exporter else None


def tracing_fault() -> str:
    """Return why the configured exporter cannot send spans, or an empty text.

    BentoML ignores an incomplete configuration, and ends each process with a traceback where the exporter is missing.
    """
    exporter = tracing_exporter()
    if exporter is None or exporter == "in_memory":
        return ""
    prefix = f"BentoML's configuration tracing.exporter_type is '{exporter}'"
    if exporter not in _EXPORTERS:
        return f"{prefix}; expected: {', '.join(_EXPORTERS)}"
    options: dict[str, Any] = getattr(BentoMLContainer.tracing, exporter).get()  # Any: BentoML's configuration
    protocol, known = str(options.get("protocol") or ""), _EXPORTERS[exporter]
    if protocol not in known:
        return f"{prefix}, but tracing.{exporter}.protocol is '{protocol}'; expected: {' or '.join(known)}"
    if exporter == "zipkin" and not options.get("endpoint"):
        return f"{prefix}, but tracing.zipkin.endpoint is empty"
    module, package = known[protocol]
    return "" if _is_installed(module) else f"{prefix}, but its exporter is not installed; run: pip install {package}"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package around it
        return False
