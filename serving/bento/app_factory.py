"""BentoML's application factory, reduced to the middleware that is needed.

Omitted are BentoML's metrics (labelled by raw path), its access log, its timeout (a timer per request that is never
cancelled), its concurrency limit (429 without a request id), and OpenTelemetry unless an exporter is configured:
without one the spans are discarded, at about a third of the processor time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from _bentoml_impl.server.app import ContextMiddleware, ServiceAppFactory  # type: ignore[import-untyped]
from bentoml._internal.configuration.containers import BentoMLContainer
from starlette.applications import Starlette
from starlette.middleware import Middleware

from serving.bento.tracing import tracing
from serving.process.arbiter import supervise
from serving.process.bounds import RunnerBounds
from serving.process.parent_watchdog import end_with_parent, is_orphan, remove_sockets
from serving.process.startup import distrust_forwarded_headers, remove_reports, restrict_new_files
from serving.process.watchdog import ProcessLimits
from serving.settings.settings import Settings


class HttpAppFactory(ServiceAppFactory):  # type: ignore[misc]
    """The base class of the runner's and the gateway's factory."""

    async def destroy_instance(self, app: Starlette) -> None:
        """End the process. An orphan removes its socket and the reports, which its parent would otherwise do."""
        await super().destroy_instance(app)
        if is_orphan():
            remove_sockets(self.service.name, BentoMLContainer.remote_runner_mapping.get())
            remove_reports()

    @property
    def middlewares(self) -> list[Middleware]:
        """The innermost middleware: BentoML's request context, which its API methods read."""
        return [Middleware(ContextMiddleware, context=self.service.context)]

    def added(self) -> list[Middleware]:
        """Return the middleware that the service configures: tracing, user middleware, CORS. Outermost first."""
        configured = tracing()
        configured += [Middleware(cls, **options) for cls, options in self.service.middlewares]
        if self.enable_access_control:
            from starlette.middleware.cors import CORSMiddleware

            configured.append(Middleware(CORSMiddleware, **self.access_control_options))
        return configured


def prepare_process(*, grace_s: float) -> None:
    """Prepare a process of the service before its server starts."""
    end_with_parent(grace_s=grace_s)
    restrict_new_files()
    distrust_forwarded_headers()


def prepare_parent(settings: Settings, bounds: Mapping[str, RunnerBounds] | None = None) -> None:
    """Prepare the process of `bentoml serve`, which starts the others. `bounds` are those of services by name."""
    hang_s = settings.request_timeout_s if settings.hang_timeout_s is None else settings.hang_timeout_s
    supervise(ProcessLimits(settings.shutdown_grace_s, hang_s, settings.start_timeout_s), bounds)
    restrict_new_files()


def wrapped(app: Any, middlewares: list[Middleware]) -> Any:  # Any: ASGI applications of several libraries' types
    """Return `app` inside `middlewares`, the first one outermost."""
    for middleware in reversed(middlewares):
        app = middleware.cls(app, *middleware.args, **middleware.kwargs)
    return app
