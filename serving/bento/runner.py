"""The service class of runners: `@bentoml.service(service_class=RunnerService.using(settings), ...)`.

While a thread of the method is free, a call runs directly. Further calls, of several gateways, are merged by BentoML's
adaptive batching.
"""

from __future__ import annotations

import functools
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

from models.errors import DeadlineExceeded, InputError, Overloaded, SettingsInvalid
from serving.access.production_checks import check_runner_token
from serving.bento.app_factory import HttpAppFactory, prepare_parent, prepare_process, wrapped
from serving.context import current_context, current_request_id
from serving.http.middleware.native_bodies import NativeBodies
from serving.observability.logging import set_up_logs
from serving.observability.watch_metrics import report_watches
from serving.process.bounds import RunnerBounds
from serving.process.graceful_shutdown import GracefulShutdown
from serving.process.parent_watchdog import is_named_parent
from serving.process.startup import report_started
from serving.runners.client.local import host
from serving.runners.host.asgi import HEALTH_PROBES, PROBES, RunnerApp
from serving.runners.host.batch_method import TOO_LATE
from serving.runners.host.instance import RunnerInstance
from serving.runners.wire import WireRequest, WireResponse
from serving.settings.settings import Settings

T = TypeVar("T")


class CallRequests(list[WireRequest]):
    """The requests of one call, a list as BentoML's dispatcher needs it."""

    def __init__(self, requests: Sequence[WireRequest], is_disconnected: Callable[[], bool] = lambda: False) -> None:
        super().__init__(requests)
        self.is_disconnected = is_disconnected


class RunnerAppFactory(HttpAppFactory):
    """Application of one runner process."""

    instance: RunnerInstance | None = None

    def __init__(self, service: Service[Any], *, is_main: bool, settings: Settings) -> None:
        super().__init__(service, is_main=is_main)
        self._settings = settings
        self._direct_calls = dict.fromkeys(self.dispatchers, 0)
        self._draining: GracefulShutdown | None = None

    def __call__(self) -> ASGIApp:
        inner = super().__call__()
        inner = NativeBodies(inner, max_body_bytes=self._settings.max_body_bytes)
        app = RunnerApp(
            inner,
            instance=lambda: self.instance,
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
        """Return 200 once the warm-up was answered, and 503 before that and during shutdown."""
        if self.instance is None or not self.instance.status.ready or self.draining().is_begun:
            return PlainTextResponse("not ready\n", status_code=503)
        return PlainTextResponse("\n")

    async def create_instance(self, app: Starlette) -> None:
        set_up_logs(self._settings.log_level)
        report_watches()
        await super().create_instance(app)
        threads = int(self.service.config.get("threads") or 1)
        self.instance = host(
            self._service_instance, list(self.dispatchers), name=self.service.name, threads=threads, may_block=True
        )
        self.draining().install()
        await self.instance.warm_up()
        report_started()

    async def destroy_instance(self, app: Starlette) -> None:
        self.draining().uninstall()
        if self.instance is not None:
            self.instance.close()
        for dispatcher in self.dispatchers.values():
            dispatcher.shutdown()
        await super().destroy_instance(app)

    async def run_method(
        self, name: str, requests: Sequence[WireRequest], is_disconnected: Callable[[], bool]
    ) -> Sequence[WireResponse | Exception]:
        """Return one answer or error per request. Raises Overloaded."""
        method = self._started_instance().method(name)
        if method is None:
            raise ValueError(f"{self.service.name} has no batch method '{name}'")
        if name not in self._direct_calls:
            # A low-priority method: the queues of the gateways bound its calls, and they are not merged.
            return await method.run(requests)
        if self._direct_calls[name] < method.threads:
            self._direct_calls[name] += 1
            try:
                return await method.run(requests)
            finally:
                self._direct_calls[name] -= 1
        return await self._dispatch(name, CallRequests(requests, is_disconnected))

    async def batch_infer(self, name: str, input_args: tuple[Any, ...], input_kwargs: dict[str, Any]) -> Any:
        """Run a call of BentoML's native API: one argument, a batch of rows."""
        values = [*input_args, *input_kwargs.values()]
        if len(values) != 1:
            raise InvalidArgument("a batch method takes one argument")
        payload = values[0] if isinstance(values[0], list) else np.asarray(values[0])
        request = WireRequest(payload, len(payload), current_request_id(), current_context().deadline)
        try:
            result = (await self._dispatch(name, CallRequests([request])))[0]
        except Overloaded as error:
            raise ServiceUnavailable("too many requests wait for this model") from error
        if isinstance(result, InputError):
            raise InvalidArgument(str(result))
        if isinstance(result, Exception):
            raise result
        return result.payload

    async def _dispatch(self, name: str, requests: CallRequests) -> Sequence[WireResponse | Exception]:
        dispatch = self.dispatchers[name](functools.partial(self._run_merged, name))
        try:
            results: Sequence[WireResponse | Exception] = await dispatch(requests)
        except ServiceUnavailable as error:
            raise Overloaded("too many requests wait for this model") from error
        return results

    async def _run_merged(
        self, name: str, calls: Sequence[Sequence[WireRequest]]
    ) -> list[list[WireResponse | Exception]]:
        """Run the calls that the dispatcher has merged, and return the results of each, in order."""
        waiting = [not (isinstance(call, CallRequests) and call.is_disconnected()) for call in calls]
        requests = [item for call, is_waiting in zip(calls, waiting, strict=True) if is_waiting for item in call]
        results = iter(await self._started_instance().methods[name].run(requests))
        return [
            [next(results) if is_waiting else DeadlineExceeded(TOO_LATE) for _ in call]
            for call, is_waiting in zip(calls, waiting, strict=True)
        ]

    def _started_instance(self) -> RunnerInstance:
        if self.instance is None:
            raise RuntimeError(f"{self.service.name} has not started")
        return self.instance


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
        prepare_process(grace_s=self.settings.shutdown_grace_s)
        self.bounds.set_cpus()
        if is_main:
            self._check_served_by_itself()
        self.inject_config()
        return RunnerAppFactory(self, is_main=is_main, settings=self.settings)()
