"""The client of a runner inside the gateway's process: the same methods and checks, without a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from models.errors import RunnerUnavailable
from serving.runners.host.instance import RunnerInstance
from serving.runners.interface import ModelRef, RunnerStatus
from serving.runners.wire import WireRequest, WireResponse


class LocalClient:
    """Client of a runner that `make` creates. Has the methods of `RemoteClient`."""

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
        self._instance: RunnerInstance | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def last_status(self) -> RunnerStatus:
        """The status of the runner."""
        if self._instance is None:
            return RunnerStatus(ready=False, model=None, detail="not checked yet")
        return self._instance.status

    def start(self) -> None:
        """Create the runner, and warm it up in the background."""
        if self._task is None:
            self._instance = self._make()
            self._task = asyncio.get_running_loop().create_task(self._warm_up(self._instance))

    async def stop(self) -> None:
        """Start no further calls."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._instance is not None:
            self._instance.close()
        self._instance = None

    async def call(self, requests: Sequence[WireRequest], *, method: str = "") -> Sequence[WireResponse | Exception]:
        """Return one answer or error per request. Raises RunnerUnavailable before the warm-up was answered."""
        batch_method = self._instance.method(method or self._method) if self._instance is not None else None
        if batch_method is None or not self.last_status.ready:
            raise RunnerUnavailable()
        return await batch_method.run(requests)

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """Return the status, after the warm-up if it is under way. Never raises."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=timeout_s)
        return self.last_status

    async def reload(self, version: str | None, *, timeout_s: float) -> ModelRef:
        """As `RemoteClient.reload`."""
        if self._instance is None:
            raise RunnerUnavailable()
        async with asyncio.timeout(timeout_s):
            return await self._instance.reload(version)

    async def hold(self, versions: Sequence[str], *, timeout_s: float) -> tuple[str, ...]:
        """As `RemoteClient.hold`."""
        if self._instance is None:
            raise RunnerUnavailable()
        async with asyncio.timeout(timeout_s):
            return await self._instance.hold(versions)

    async def _warm_up(self, instance: RunnerInstance) -> None:
        await instance.warm_up()
        if self._on_state is not None:
            self._on_state(instance.status.ready)


def host(
    instance: Any,  # Any: a BentoML service's class
    methods: Sequence[str],
    *,
    name: str,
    threads: int,
    may_block: bool = False,
) -> RunnerInstance:
    """Return a runner of a BentoML service's instance, with the plain function under each of its `methods`."""
    functions = {method: getattr(instance, method).local for method in methods}
    return RunnerInstance(instance, functions, name=name, threads=threads, may_block=may_block)
