"""A runner inside the gateway's own process: the same methods, checks and isolation, without a hop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from models.errors import RunnerUnavailable
from serving.runners.host.instance import RunnerInstance
from serving.runners.interface import ModelRef, RunnerStatus
from serving.runners.wire import WireRequest, WireResponse


class LocalClient:
    """Asks one method of a runner that `make` builds. Has the methods of `hop.HopClient`."""

    def __init__(
        self,
        make: Callable[[], RunnerInstance],
        *,
        method: str,
        name: str,
        on_state: Callable[[bool], None] | None = None,
    ) -> None:
        self.name = name
        self._make = make
        self._method = method
        self._on_state = on_state
        self._hosted: RunnerInstance | None = None
        self._starting: asyncio.Task[None] | None = None

    @property
    def last_status(self) -> RunnerStatus:
        """Whether the warm-up was answered, and by which version."""
        return self._hosted.status if self._hosted else RunnerStatus(ready=False, model=None, detail="not asked yet")

    def start(self) -> None:
        """Take the runner and warm it up, in the background."""
        if self._starting is None:
            self._hosted = self._make()
            self._starting = asyncio.get_running_loop().create_task(self._warm_up(self._hosted))

    async def stop(self) -> None:
        """Start nothing more."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
            self._starting = None
        if self._hosted is not None:
            self._hosted.close()
        self._hosted = None

    async def call(self, questions: Sequence[WireRequest], *, method: str = "") -> Sequence[WireResponse | Exception]:
        """One answer or error per question. Raises RunnerUnavailable before the warm-up was answered."""
        answering = self._hosted.answering(method or self._method) if self._hosted is not None else None
        if answering is None or not self.last_status.ready:
            raise RunnerUnavailable()
        return await answering.answer(questions)

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """What the runner says now. Never raises."""
        if self._starting is not None and not self._starting.done():
            await asyncio.wait([self._starting], timeout=timeout_s)
        return self.last_status

    async def reload(self, version: str | None, *, timeout_s: float) -> ModelRef:
        """As `HopClient.reload`."""
        if self._hosted is None:
            raise RunnerUnavailable()
        async with asyncio.timeout(timeout_s):
            return await self._hosted.reload(version)

    async def hold(self, versions: Sequence[str], *, timeout_s: float) -> tuple[str, ...]:
        """As `HopClient.hold`."""
        if self._hosted is None:
            raise RunnerUnavailable()
        async with asyncio.timeout(timeout_s):
            return await self._hosted.hold(versions)

    async def _warm_up(self, hosted: RunnerInstance) -> None:
        await hosted.warm_up()
        if self._on_state is not None:
            self._on_state(hosted.status.ready)


def host(
    instance: Any,  # Any: a BentoML service's class
    methods: Sequence[str],
    *,
    name: str,
    threads: int,
    may_block: bool = False,
) -> RunnerInstance:
    """The batch methods of a BentoML service's instance, each as the plain function under it."""
    functions = {each: getattr(instance, each).local for each in methods}
    return RunnerInstance(instance, functions, name=name, threads=threads, may_block=may_block)
