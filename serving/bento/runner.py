"""The service class of runners: `@bentoml.service(service_class=RunnerService.using(settings), ...)`.

A lone call goes straight to the model. Where several gateways' calls meet, BentoML's adaptive batching merges them.
"""

from __future__ import annotations

import functools
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

from models.errors import DeadlineExceeded, InputError, Overloaded
from serving.bento.app_factory import HttpAppFactory, wrapped
from serving.context import current_context, current_request_id
from serving.observability.logging import set_up_logs
from serving.process.graceful_shutdown import GracefulShutdown
from serving.process.parent_watchdog import end_with_parent, name_parent
from serving.process.startup import report_started
from serving.runners.client.local import host
from serving.runners.host.asgi import RunnerApp
from serving.runners.host.batch_method import TOO_LATE
from serving.runners.host.instance import RunnerInstance
from serving.runners.wire import WireRequest, WireResponse
from serving.settings.settings import Settings

T = TypeVar("T")


class Asked(list[WireRequest]):
    """The questions of one call, as BentoML's dispatcher carries them: its length is their number."""

    def __init__(self, questions: Sequence[WireRequest], is_gone: Callable[[], bool] = lambda: False) -> None:
        super().__init__(questions)
        self.is_gone = is_gone


class RunnerAppFactory(HttpAppFactory):
    """Application of one runner process."""

    hosted: RunnerInstance | None = None

    def __init__(self, service: Service[Any], *, is_main: bool, settings: Settings) -> None:
        super().__init__(service, is_main=is_main)
        self._settings = settings
        self._direct = dict.fromkeys(self.dispatchers, 0)
        self._draining: GracefulShutdown | None = None

    def __call__(self) -> ASGIApp:
        inner = super().__call__()
        app = RunnerApp(inner, hosted=lambda: self.hosted, answer=self.answer, draining=self.draining)
        return wrapped(app, self.added())  # type: ignore[no-any-return]

    def draining(self) -> GracefulShutdown:
        if self._draining is None:
            self._draining = GracefulShutdown(
                grace_s=self._settings.shutdown_grace_s + 2.0, waits_for_sessions=not self.is_main
            )
        return self._draining

    async def readyz(self, request: Request) -> Response:
        """Ready once the warm-up was answered, and not while stopping."""
        if self.hosted is None or not self.hosted.status.ready or self.draining().is_begun:
            return PlainTextResponse("not ready\n", status_code=503)
        return PlainTextResponse("\n")

    async def create_instance(self, app: Starlette) -> None:
        set_up_logs(self._settings.log_level)
        await super().create_instance(app)
        threads = int(self.service.config.get("threads") or 1)
        self.hosted = host(
            self._service_instance, list(self.dispatchers), name=self.service.name, threads=threads, may_block=True
        )
        self.draining().install()
        await self.hosted.warm_up()
        report_started()

    async def destroy_instance(self, app: Starlette) -> None:
        self.draining().uninstall()
        if self.hosted is not None:
            self.hosted.close()
        for dispatcher in self.dispatchers.values():
            dispatcher.shutdown()
        await super().destroy_instance(app)

    async def answer(
        self, name: str, questions: Sequence[WireRequest], is_gone: Callable[[], bool]
    ) -> Sequence[WireResponse | Exception]:
        """One answer or error per question. Raises Overloaded."""
        method = self._hosted().answering(name)
        if method is None:
            raise ValueError(f"{self.service.name} has no batch method '{name}'")
        if name not in self._direct:
            # Asked aside: its gateways' queues bound it, and it merges with nothing.
            return await method.answer(questions)
        if self._direct[name] < method.threads:
            self._direct[name] += 1
            try:
                return await method.answer(questions)
            finally:
                self._direct[name] -= 1
        return await self._dispatch(name, Asked(questions, is_gone))

    async def batch_infer(self, name: str, input_args: tuple[Any, ...], input_kwargs: dict[str, Any]) -> Any:
        """BentoML's entry for calls of the native API: one argument, a batch of rows."""
        values = [*input_args, *input_kwargs.values()]
        if len(values) != 1:
            raise InvalidArgument("a batch method takes one argument")
        payload = values[0] if isinstance(values[0], list) else np.asarray(values[0])
        question = WireRequest(payload, len(payload), current_request_id(), current_context().deadline)
        try:
            answer = (await self._dispatch(name, Asked([question])))[0]
        except Overloaded as error:
            raise ServiceUnavailable("too many requests wait for this model") from error
        if isinstance(answer, InputError):
            raise InvalidArgument(str(answer))
        if isinstance(answer, Exception):
            raise answer
        return answer.payload

    async def _dispatch(self, name: str, asked: Asked) -> Sequence[WireResponse | Exception]:
        dispatch = self.dispatchers[name](functools.partial(self._answer_batches, name))
        try:
            answers: Sequence[WireResponse | Exception] = await dispatch(asked)
        except ServiceUnavailable as error:
            raise Overloaded("too many requests wait for this model") from error
        return answers

    async def _answer_batches(
        self, name: str, batches: Sequence[Sequence[WireRequest]]
    ) -> list[list[WireResponse | Exception]]:
        """What the dispatcher calls with all that it merged: the answers of each call, in order."""
        present = [not (isinstance(batch, Asked) and batch.is_gone()) for batch in batches]
        asked = [item for batch, is_present in zip(batches, present, strict=True) if is_present for item in batch]
        answers = iter(await self._hosted().methods[name].answer(asked))
        return [
            [next(answers) if is_present else DeadlineExceeded(TOO_LATE) for _ in batch]
            for batch, is_present in zip(batches, present, strict=True)
        ]

    def _hosted(self) -> RunnerInstance:
        if self.hosted is None:
            raise RuntimeError(f"{self.service.name} has not started")
        return self.hosted


class RunnerService(Service[T]):  # type: ignore[misc]
    """A BentoML service whose application is the runner's. `using` gives it settings."""

    settings: Settings

    @classmethod
    def using(cls, settings: Settings) -> type[RunnerService[Any]]:
        """This class with `settings`, to be passed as `service_class=`."""
        return type(cls.__name__, (cls,), {"settings": settings})

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        # Called where `bentoml serve` starts the processes, in development too, and nowhere else.
        self.inner._name_parent = on_deployment(name_parent)

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        end_with_parent()
        self.inject_config()
        return RunnerAppFactory(self, is_main=is_main, settings=self.settings)()
