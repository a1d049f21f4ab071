"""The clients of the models of a runner inside the gateway's process: the same methods and checks, no connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.errors import RunnerUnavailable
from serving.concurrency import cancel_and_wait
from serving.runners.client.health import NOT_LOADED
from serving.runners.host.instance import RunnerInstance
from serving.runners.host.models import HostedModels
from serving.runners.interface import ModelRef, RunnerStatus
from serving.runners.wire import WireRequest, WireResponse


class LocalRunner:
    """A runner that `make` creates when its first client starts."""

    def __init__(self, make: Callable[[], HostedModels]) -> None:
        self._make = make
        self._clients: list[LocalClient] = []
        self.models: HostedModels | None = None
        self.warm_up: asyncio.Task[None] | None = None

    def attach(self, client: LocalClient) -> None:
        """Create the models, unless another client has, and warm them up in the background."""
        self._clients.append(client)
        if self.models is None:
            self.models = self._make()
            self.warm_up = asyncio.get_running_loop().create_task(self._warm_up(self.models))
        elif self.warm_up is None or self.warm_up.done():
            client.publish()

    async def detach(self, client: LocalClient) -> None:
        """Start no further calls once the last client has stopped."""
        if client not in self._clients:
            return
        self._clients.remove(client)
        if not self._clients:
            task, self.warm_up = self.warm_up, None
            await cancel_and_wait(task)
            models, self.models = self.models, None
            if models is not None:
                models.close()

    @property
    def is_up(self) -> bool:
        """Whether the models have been warmed up."""
        return self.models is not None and self.models.is_warm

    def loaded(self) -> frozenset[str]:
        """Return the models that are loaded."""
        statuses = self.models.statuses() if self.models is not None else {}
        return frozenset(name for name, status in statuses.items() if status.ready)

    async def load(self, name: str, spec: Mapping[str, Any], *, timeout_s: float) -> None:
        """As `RemoteRunner.load`."""
        if self.models is None:
            raise RunnerUnavailable()
        async with asyncio.timeout(timeout_s):
            await self.models.load(name, spec)
        self._publish()

    async def unload(self, name: str, *, timeout_s: float) -> None:
        """As `RemoteRunner.unload`."""
        if self.models is None:
            raise RunnerUnavailable()
        async with asyncio.timeout(timeout_s):
            await self.models.unload(name)
        self._publish()

    async def _warm_up(self, models: HostedModels) -> None:
        await models.warm_up()
        self._publish()

    def _publish(self) -> None:
        for client in self._clients:
            client.publish()


class LocalClient:
    """Client of one model of `runner`. Has the methods of `RemoteClient`."""

    def __init__(
        self,
        runner: LocalRunner,
        *,
        method: str,
        model: str = "",
        on_state: Callable[[bool], None] | None = None,
    ) -> None:
        self.model = model
        self._runner = runner
        self._method = method
        self._on_state = on_state

    @property
    def last_status(self) -> RunnerStatus:
        """The status of the model."""
        models = self._runner.models
        if models is None:
            return RunnerStatus(ready=False, model=None, detail="not checked yet")
        if not models.is_warm:
            return models.status
        return models.status_of(self.model) or NOT_LOADED

    def start(self) -> None:
        """Create the runner, unless another client has, and warm it up in the background."""
        self._runner.attach(self)

    async def stop(self) -> None:
        """Start no further calls."""
        await self._runner.detach(self)

    def publish(self) -> None:
        """Report whether the model is ready."""
        if self._on_state is not None:
            self._on_state(self.last_status.ready)

    async def call(self, requests: Sequence[WireRequest], *, method: str = "") -> Sequence[WireResponse | Exception]:
        """Return one answer or error per request. Raises RunnerUnavailable before the warm-up was answered."""
        instance = self._instance()
        batch_method = instance.method(method or self._method) if instance is not None else None
        if batch_method is None or not self.last_status.ready:
            raise RunnerUnavailable()
        return await batch_method.run(requests)

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """Return the status, after the warm-up if it is under way. Never raises."""
        task = self._runner.warm_up
        if task is not None and not task.done():
            await asyncio.wait([task], timeout=timeout_s)
        return self.last_status

    async def reload(self, version: str | None, *, timeout_s: float) -> ModelRef:
        """As `RemoteClient.reload`."""
        instance = self._instance()
        if instance is None:
            raise RunnerUnavailable()
        async with asyncio.timeout(timeout_s):
            return await instance.reload(version)

    async def hold(self, versions: Sequence[str], *, timeout_s: float) -> tuple[str, ...]:
        """As `RemoteClient.hold`."""
        instance = self._instance()
        if instance is None:
            raise RunnerUnavailable()
        async with asyncio.timeout(timeout_s):
            return await instance.hold(versions)

    def _instance(self) -> RunnerInstance | None:
        return self._runner.models.get(self.model) if self._runner.models is not None else None


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
