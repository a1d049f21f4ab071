"""The service class of the gateway: `@bentoml.service(service_class=GatewayService.using(settings), ...)`.

Paths of BentoML's native API are routed to BentoML's application, unless the mounted application has them too. All
other paths are routed to the mounted application. The platform's middleware surrounds both. BentoML's lifespan also
runs the lifespan of the mounted application.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import bentoml
from _bentoml_sdk.service import Service  # type: ignore[import-untyped]
from bentoml import on_deployment
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.utils.uri import join_paths
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.access.client_address import trusted_networks
from serving.asgi import carries_pickle, reply
from serving.bento import client_schema
from serving.bento.app_factory import HttpAppFactory, prepare_parent, prepare_process, wrapped
from serving.bento.client_schema import ClientSchema, api_methods
from serving.bento.models import BentoModels
from serving.bento.tracing import tracing_exporter
from serving.http import problem_details
from serving.http.middleware.body_timeout import BodyTimeout
from serving.http.middleware.cors import Cors
from serving.http.middleware.graceful_shutdown import CloseConnections
from serving.http.middleware.metrics import RequestMetrics
from serving.http.middleware.native_bodies import NativeBodies
from serving.http.middleware.open_requests import LimitOpenRequests
from serving.http.middleware.request_id import RequestId
from serving.http.middleware.server_error import ServerErrors
from serving.http.middleware.timeout import Timeout
from serving.kinds.handlers import Handlers
from serving.observability.access_log import AccessLog
from serving.observability.logging import set_up_logs
from serving.observability.metrics import service_metrics
from serving.observability.request_recorder import RequestRecorder
from serving.observability.watch_metrics import report_watches
from serving.process.graceful_shutdown import GracefulShutdown
from serving.process.python_version import python_warnings
from serving.process.startup import freeze_live_objects, raise_file_limit, report_started, return_freed_memory
from serving.runners.placement import Placed
from serving.runners.readiness import Readiness, readiness
from serving.server.fast_path.batch_queue import FastOperation
from serving.server.fast_path.install import install
from serving.settings.settings import Settings

log = logging.getLogger("makunouchi")
T = TypeVar("T")


class NativeRouter:
    """An ASGI application that routes the paths in `native` to BentoML's application, and others to the mounted one."""

    def __init__(self, bento: ASGIApp, mounted: ASGIApp | None, native: frozenset[str]) -> None:
        self._bento = bento
        self._mounted = mounted or bento
        self._native = native

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in self._native):
            if scope["type"] == "http" and carries_pickle(scope):
                await reply(send, 415, {"error": "pickle is not accepted"})
                return
            await self._bento(scope, receive, send)
            return
        await self._mounted(scope, receive, send)


def _paths(app: ASGIApp | None) -> set[str]:
    """Return the paths of a Starlette application's routes."""
    return {str(getattr(route, "path", "")) for route in getattr(app, "routes", ())}


class GatewayAppFactory(HttpAppFactory):
    """The factory of the application of one gateway process."""

    def __init__(self, service: GatewayService[Any], *, is_main: bool) -> None:
        super().__init__(service, is_main=is_main)
        self._gateway = service
        self._settings = service.settings
        self._access_log = AccessLog() if self._settings.access_log else None

    def __call__(self) -> ASGIApp:
        bento = super().__call__()
        problem_details.install(bento)
        schema = ClientSchema(self.service, is_private=self._settings.docs_access != "open")
        bento.router.routes.insert(0, schema.route())
        if self._gateway.handlers is not None:
            schema.follow(self._gateway.handlers)
        service = self.service
        mounted = service.mount_apps[0][0] if service.mount_apps else None
        native = frozenset(join_paths(service.path_prefix, method.route) for method in service.apis.values())
        native = (native - _paths(mounted)) | {client_schema.PATH}
        draining = self._gateway.draining
        transfer_timeout_s = self._settings.job_transfer_timeout_s
        trusted = trusted_networks(self._settings.trusted_proxies)
        outer = [
            Middleware(LimitOpenRequests, share=self._settings.open_requests_share, trusted=trusted),
            Middleware(RequestId),
            Middleware(RequestMetrics, recorder=RequestRecorder(service_metrics(), self._access_log), native=native),
            *([Middleware(Cors, origins=self._settings.cors_origins)] if self._settings.cors_origins else []),
            Middleware(ServerErrors),
            Middleware(CloseConnections, draining=draining),
            Middleware(Timeout, timeout_s=self._settings.request_timeout_s, transfer_timeout_s=transfer_timeout_s),
            Middleware(
                BodyTimeout,
                timeout_s=self._settings.body_timeout_s,
                transfer_timeout_s=transfer_timeout_s,
                min_rate=self._settings.body_min_rate,
            ),
        ]
        bento = NativeBodies(bento, max_body_bytes=self._settings.max_body_bytes)
        return wrapped(NativeRouter(bento, mounted, native), outer + self.added())  # type: ignore[no-any-return]

    async def create_instance(self, app: Starlette) -> None:
        set_up_logs(self._settings.log_level)
        raise_file_limit()
        return_freed_memory()
        report_watches()
        for warning in python_warnings():
            log.warning(warning)
        await super().create_instance(app)
        addresses: dict[str, str] = BentoMLContainer.remote_runner_mapping.get()
        token = self._settings.runner_token.get_secret_value()
        for placed in self._gateway.placed():
            placed.start(addresses, token=token, gauge=service_metrics().gauge)
        # Before the signal handlers are replaced: they identify the server.
        self._install_protocol()
        self._gateway.draining.install()
        freeze_live_objects()
        report_started()

    def _install_protocol(self) -> None:
        install(
            # The fast path bypasses the tracing middleware.
            tuple if tracing_exporter() else self._gateway.fast_operations,
            recorder=RequestRecorder(service_metrics(), self._access_log),
            shutdown=self._gateway.draining,
            timeout_s=self._settings.request_timeout_s,
            head_timeout_s=self._settings.body_timeout_s,
            body_min_rate=self._settings.body_min_rate,
            keep_alive_s=self._settings.keep_alive_s,
            max_message_bytes=self._settings.max_body_bytes,
            on_change=self._gateway.on_models_change,
        )

    async def destroy_instance(self, app: Starlette) -> None:
        self._gateway.draining.uninstall()
        await asyncio.gather(*(placed.stop() for placed in self._gateway.placed()))
        if self._access_log is not None:
            self._access_log.flush()
        service_metrics().flush()
        await super().destroy_instance(app)


class GatewayService(Service[T]):  # type: ignore[misc]
    """A BentoML service with the gateway's application. Create it with `using`."""

    settings: Settings
    # Operations that the fast path answers, if the server supports it.
    fast_operations: Callable[[], Sequence[FastOperation]] = tuple
    # The models that the gateway follows.
    handlers: Handlers | None = None
    _draining: GracefulShutdown | None = None

    @classmethod
    def using(cls, settings: Settings) -> type[GatewayService[Any]]:
        """Return a subclass with `settings`, for `service_class=`."""
        return type(cls.__name__, (cls,), {"settings": settings})

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        # Called only in the process of `bentoml serve` that starts the service processes, also in development.
        self.inner._prepare_parent = on_deployment(functools.partial(prepare_parent, self.settings))

    def on_models_change(self, update: Callable[[], None]) -> None:
        """Call `update` after each change of the models."""
        if self.handlers is not None:
            self.handlers.on_change(update)

    @property
    def draining(self) -> GracefulShutdown:
        """The shutdown state of this process."""
        if self._draining is None:
            self._draining = GracefulShutdown(grace_s=self.settings.shutdown_grace_s)
        return self._draining

    def placed(self) -> list[Placed[Any]]:
        """Return the dependencies that `placement.place` created."""
        return [each for each in self.dependencies.values() if isinstance(each, Placed)]

    def readiness(self) -> Readiness:
        """Return the readiness of this process, for `/readyz`."""
        handles = [connected.handle for placed in self.placed() for connected in placed.models]
        return readiness(handles, is_stopping=lambda: self.draining.is_begun)

    def all_services(self, exclude_urls: bool = False) -> dict[str, Service[Any]]:
        """Return BentoML's services, without inline runners if `exclude_urls` selects the processes to start."""
        services: dict[str, Service[Any]] = super().all_services(exclude_urls=exclude_urls)
        if exclude_urls:
            for placed in self.placed():
                if placed.is_inline and placed.on is not None:
                    services.pop(placed.on.name, None)
        return services

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        prepare_process(grace_s=self.settings.shutdown_grace_s)
        self.inject_config()
        return GatewayAppFactory(self, is_main=is_main)()


def gateway_class(
    models: BentoModels,
    *,
    module: str,
    check: Callable[[], None],
) -> type[Any]:
    """Return the class of the gateway: its runners, the methods for BentoML's clients, and `check` before the start.

    `module` is where BentoML finds the service.
    """
    members: dict[str, Any] = {
        "__module__": module,
        "__doc__": "Answers clients, and sends batches to the runners. Its methods are for BentoML's own clients.",
        "check_models": bentoml.on_deployment(staticmethod(check)),
    }
    for runner in models.runners:
        members |= {f"runner_{placed.on.name}": placed for placed in runner.dependencies if placed.on is not None}
    return type("Gateway", (), members | api_methods(models.handlers.native_methods()))
