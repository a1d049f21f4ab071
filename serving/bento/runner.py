"""The service class of runners: `@bentoml.service(service_class=RunnerService.using(settings), ...)`.

While a thread is free, a call runs directly. Further calls, of several gateways, wait and are merged (`CallQueue`), in
place of BentoML's adaptive batching, which has no priorities and waits by a timer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from _bentoml_sdk.service import Service  # type: ignore[import-untyped]
from bentoml import on_deployment
from bentoml.exceptions import InvalidArgument, ServiceUnavailable
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from models.errors import InputError, Overloaded, SettingsInvalid
from serving.access.production_checks import check_runner_token
from serving.bento.app_factory import HttpAppFactory, prepare_parent, prepare_process, wrapped
from serving.context import current_context, current_request_id
from serving.http.middleware.native_bodies import NativeBodies
from serving.observability.logging import set_up_logs
from serving.observability.watch_metrics import report_watches
from serving.process.bounds import RunnerBounds
from serving.process.graceful_shutdown import GracefulShutdown
from serving.process.parent_watchdog import is_named_parent
from serving.process.startup import report_started, share_one_heap
from serving.runners.batching import BatchLimits
from serving.runners.host.asgi import HEALTH_PROBES, PROBES, RunnerApp
from serving.runners.host.batch_method import BatchMethod
from serving.runners.host.call_queue import UNBOUNDED, CallQueue
from serving.runners.host.models import HostedModels
from serving.runners.placement import hosted_models
from serving.runners.wire import WireRequest, WireResponse
from serving.settings.settings import Settings

T = TypeVar("T")


class RunnerAppFactory(HttpAppFactory):
    """Application of one runner process."""

    models: HostedModels | None = None

    def __init__(self, service: Service[Any], *, is_main: bool, settings: Settings) -> None:
        super().__init__(service, is_main=is_main)
        self._settings = settings
        self._calls: CallQueue | None = None
        self._draining: GracefulShutdown | None = None

    def __call__(self) -> ASGIApp:
        inner = super().__call__()
        inner = NativeBodies(inner, max_body_bytes=self._settings.max_body_bytes)
        app = RunnerApp(
            inner,
            models=lambda: self.models,
            run=self.run_method,
            draining=self.draining,
            token=self._settings.runner_token.get_secret_value(),
            open_paths=PROBES if self._settings.probes_access == "open" else HEALTH_PROBES,
        )
        return wrapped(app, self.added())  # type: ignore[no-any-return]

    def draining(self) -> GracefulShutdown:
        if self._draining is None:
            self._draining = GracefulShutdown(
                grace_s=self._settings.shutdown_grace_s + 2.0, waits_for_sessions=not self.is_main
            )
        return self._draining

    async def readyz(self, request: Request) -> Response:
        """Return 200 while every model has answered its warm-up, and 503 before that and during shutdown."""
        if self.models is None or not self.models.is_ready or self.draining().is_begun:
            return PlainTextResponse("not ready\n", status_code=503)
        return PlainTextResponse("\n")

    async def create_instance(self, app: Starlette) -> None:
        set_up_logs(self._settings.log_level)
        report_watches()
        await super().create_instance(app)
        self.models = hosted_models(self._service_instance, self.service, may_block=True)
        self.draining().install()
        await self.models.warm_up()
        report_started()

    async def destroy_instance(self, app: Starlette) -> None:
        self.draining().uninstall()
        if self.models is not None:
            self.models.close()
        await super().destroy_instance(app)

    async def run_method(
        self, method: BatchMethod, requests: Sequence[WireRequest], is_disconnected: Callable[[], bool]
    ) -> Sequence[WireResponse | Exception]:
        """Return one answer or error per request. Raises Overloaded."""
        if method.is_low_priority:
            # The queues of the gateways bound these calls, and they are not merged.
            return await method.run(requests)
        if self._calls is None:
            self._calls = CallQueue(
                BatchLimits(
                    max_batch_rows=self._settings.max_batch_rows,
                    max_batch_bytes=self._settings.max_batch_bytes,
                    max_queue_rows=UNBOUNDED,
                    # The methods of all models share the threads.
                    calls_in_flight=method.threads,
                )
            )
        return await self._calls.run(method, requests, is_disconnected)

    async def batch_infer(self, name: str, input_args: tuple[Any, ...], input_kwargs: dict[str, Any]) -> Any:
        """Run a call of BentoML's native API: one argument, a batch of rows."""
        values = [*input_args, *input_kwargs.values()]
        if len(values) != 1:
            raise InvalidArgument("a batch method takes one argument")
        payload = values[0] if isinstance(values[0], list) else np.asarray(values[0])
        request = WireRequest(payload, len(payload), current_request_id(), current_context().deadline)
        try:
            result = (await self.run_method(self._method(name), [request], lambda: False))[0]
        except Overloaded as error:
            raise ServiceUnavailable("too many requests wait for this model") from error
        if isinstance(result, InputError):
            raise InvalidArgument(str(result))
        if isinstance(result, Exception):
            raise result
        return result.payload

    def _method(self, name: str) -> BatchMethod:
        """Return a method of the first model, which answers BentoML's native API."""
        instance = self.models.get("") if self.models is not None else None
        method = instance.method(name) if instance is not None else None
        if method is None:
            raise ServiceUnavailable("no model is loaded")
        return method


class RunnerService(Service[T]):  # type: ignore[misc]
    """A BentoML service whose application is the runner's. `using` gives it settings and bounds."""

    settings: Settings
    bounds: RunnerBounds

    @classmethod
    def using(cls, settings: Settings, bounds: RunnerBounds | None = None) -> type[RunnerService[Any]]:
        """Return a subclass with `settings` and bounds, those of the settings by default, for `service_class=`."""
        return type(cls.__name__, (cls,), {"settings": settings, "bounds": bounds or RunnerBounds.of(settings)})

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        # `bentoml serve` calls it before it starts the processes, in development too.
        self.inner._prepare_parent = on_deployment(lambda: self._prepare_parent())

    def _prepare_parent(self) -> None:
        # The gateway's hook is called before those of its runners.
        if not is_named_parent():
            self._check_served_by_itself()
        prepare_parent(self.settings, {self.name: self.bounds})

    def _check_served_by_itself(self) -> None:
        try:
            check_runner_token(self.settings)
        except SettingsInvalid as error:
            sys.exit(f"error: {error}")

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        share_one_heap()
        prepare_process(grace_s=self.settings.shutdown_grace_s)
        self.bounds.set_cpus()
        if is_main:
            self._check_served_by_itself()
        self.inject_config()
        return RunnerAppFactory(self, is_main=is_main, settings=self.settings)()
