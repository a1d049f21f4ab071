"""BentoML's application factory with only what a request needs. Knows BentoML, no models.

Left out: BentoML's own metrics (their label is the raw path), its access log, its timeout (a timer per request that is
never cancelled), its concurrency limit (429 without a request id), and OpenTelemetry unless an exporter is configured:
without one the spans go nowhere and cost about a third of the processor time.
"""

from __future__ import annotations

from typing import Any

from _bentoml_impl.server.app import ContextMiddleware, ServiceAppFactory  # type: ignore[import-untyped]
from bentoml._internal.configuration.containers import BentoMLContainer
from starlette.applications import Starlette
from starlette.middleware import Middleware

from serving.process.parent_watchdog import is_orphan, remove_sockets


class HttpAppFactory(ServiceAppFactory):  # type: ignore[misc]
    """Base of the runner's and the gateway's factory."""

    async def destroy_instance(self, app: Starlette) -> None:
        """The end of a process. What the process that started this one would remove is removed here when it is gone."""
        await super().destroy_instance(app)
        if is_orphan():
            remove_sockets(self.service.name, BentoMLContainer.remote_runner_mapping.get())

    @property
    def middlewares(self) -> list[Middleware]:
        """Innermost only: BentoML's request context, which its API methods read."""
        return [Middleware(ContextMiddleware, context=self.service.context)]

    def added(self) -> list[Middleware]:
        """What the user of the service asked for: tracing, their own middleware, CORS. Outermost first."""
        chosen = tracing()
        chosen += [Middleware(cls, **options) for cls, options in self.service.middlewares]
        if self.enable_access_control:
            from starlette.middleware.cors import CORSMiddleware

            chosen.append(Middleware(CORSMiddleware, **self.access_control_options))
        return chosen


def tracing() -> list[Middleware]:
    """The OpenTelemetry middleware when BentoML's configuration names an exporter, else nothing."""
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
    """`zipkin`, `jaeger`, `otlp`, `in_memory`, or None."""
    exporter: Any = BentoMLContainer.tracing.exporter_type.get()  # Any: BentoML's configuration is untyped
    return str(exporter) if exporter else None


def wrapped(app: Any, middlewares: list[Middleware]) -> Any:  # Any: ASGI applications of several libraries' types
    """`app` inside `middlewares`, the first of them outermost."""
    for middleware in reversed(middlewares):
        app = middleware.cls(app, *middleware.args, **middleware.kwargs)
    return app
