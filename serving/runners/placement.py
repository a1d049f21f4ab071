"""The placement of a runner: a separate process, the gateway's process, or another host; and the handles of its models.

    image = place(ImageRunner, settings.image_placement)
    handle = connect(image, limits)

Both are free of I/O and can stand at the top of `service.py`. `GatewayService` starts what was connected. A model that
is connected later is started at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import attrs
from _bentoml_sdk.service import Service  # type: ignore[import-untyped]
from _bentoml_sdk.service.dependency import Dependency  # type: ignore[import-untyped]

from models.errors import RunnerUnavailable, SettingsInvalid
from serving.runners.batching import BatchLimits, QueueGauge
from serving.runners.client.local import LocalClient, LocalRunner, host
from serving.runners.client.remote import RemoteClient, RemoteRunner
from serving.runners.client.replicas import ReplicatedClient, ReplicatedRunner
from serving.runners.handle import Client, RunnerHandle
from serving.runners.host.models import HostedModels

T = TypeVar("T")
Gauge = Callable[[str], QueueGauge]


@dataclass(frozen=True, slots=True)
class ConnectedModel:
    """The gateway's handle of one model of a runner. The only model of a runner may have no name."""

    handle: RunnerHandle
    model: str
    method: str


@attrs.define(eq=False)
class Placed(Dependency[T]):  # type: ignore[misc]
    """A dependency of the gateway with the placement of its runner and the gateway's handles of its models."""

    # BentoML's fields, repeated for their types.
    on: Service[T] | None = None
    deployment: str | None = None
    cluster: str | None = None
    url: str | None = None
    is_inline: bool = False
    # Idle connections to each process of the runner.
    connections: int = 1
    # Further processes of the runner: the same service under other names. Each is a dependency of the gateway, which
    # reaches all of them through this one.
    replicas: Sequence[Placed[T]] = ()
    is_replica: bool = False
    models: list[ConnectedModel] = attrs.field(factory=list)
    runner: RemoteRunner | ReplicatedRunner | LocalRunner | None = None
    gauge: Gauge | None = None

    def start(self, addresses: Mapping[str, str], *, token: str = "", gauge: Gauge | None = None) -> None:
        """Connect to the runner and start the handles of its models.

        `addresses` is BentoML's map of the runners with their own process. `token` is sent to runners that are reached
        over TCP. `gauge` returns the metrics of a model's queue.
        """
        if self.is_replica:
            return
        service = _service(self)
        url = self.url or (None if self.is_inline else addresses.get(service.name))
        calls = max([0, *(each.handle.limits.calls_in_flight for each in self.models)])
        connections = max(self.connections, calls // (1 + len(self.replicas)))
        if url:
            self.runner = RemoteRunner(url, name=service.name, connections=connections, token=token)
            names = [name for each in self.replicas if (name := _service(each).name) in addresses]
            others = [RemoteRunner(addresses[name], name=name, connections=connections, token=token) for name in names]
            if others:
                self.runner = ReplicatedRunner([self.runner, *others])
        else:
            self.runner = LocalRunner(lambda: _hosted(self, service))
        self.gauge = gauge
        for connected in self.models:
            self._start(connected)

    def connect(self, connected: ConnectedModel) -> None:
        """Add a model; start its handle if the runner is connected."""
        self.models.append(connected)
        if self.runner is not None:
            self._start(connected)

    async def disconnect(self, handle: RunnerHandle) -> None:
        """Remove a model and close its handle. Calls in flight fail."""
        self.models[:] = [each for each in self.models if each.handle is not handle]
        await handle.stop()

    async def stop(self) -> None:
        """Close the handles of all models. Calls in flight fail."""
        for connected in self.models:
            await connected.handle.stop()
        self.runner = None

    @property
    def is_up(self) -> bool:
        """Whether the runner answers."""
        return self.runner is not None and self.runner.is_up

    def loaded(self) -> frozenset[str]:
        """Return the models that the runner has loaded, as it last reported."""
        return frozenset() if self.runner is None else self.runner.loaded()

    async def load(self, name: str, spec: Mapping[str, Any], *, timeout_s: float) -> None:
        """Make the runner load a model under a name. Raises as `RemoteRunner.load`."""
        if self.runner is None:
            raise RunnerUnavailable()
        await self.runner.load(name, spec, timeout_s=timeout_s)

    async def unload(self, name: str, *, timeout_s: float) -> None:
        """Make the runner drop a model. Raises as `RemoteRunner.load`."""
        if self.runner is None:
            raise RunnerUnavailable()
        await self.runner.unload(name, timeout_s=timeout_s)

    def _start(self, connected: ConnectedModel) -> None:
        handle, runner = connected.handle, self.runner
        client: Client
        if isinstance(runner, RemoteRunner):
            client = RemoteClient(runner, method=connected.method, model=connected.model, on_state=handle.on_state)
        elif isinstance(runner, ReplicatedRunner):
            client = ReplicatedClient(runner, method=connected.method, model=connected.model, on_state=handle.on_state)
        elif isinstance(runner, LocalRunner):
            client = LocalClient(runner, method=connected.method, model=connected.model, on_state=handle.on_state)
        else:
            raise RunnerUnavailable()
        handle.start(client, gauge=self.gauge(handle.name) if self.gauge is not None else None)


def place(runner: Service[T], placement: str, *, replicas: Sequence[Service[T]] = ()) -> Placed[T]:
    """Return a dependency on `runner`. `placement` is `process`, `inline`, or the http(s):// address of another host.

    `replicas` are the same service under other names, for further processes. Raises SettingsInvalid.
    """
    if replicas and placement != "process":
        raise SettingsInvalid(f"replicas need the placement `process`, not '{placement}'; start more runners there")
    if placement == "process":
        return Placed(on=runner, replicas=[Placed(on=each, is_replica=True) for each in replicas])
    if placement == "inline":
        return Placed(on=runner, is_inline=True)
    if placement.startswith(("http://", "https://")):
        return Placed(on=runner, url=placement)
    raise SettingsInvalid(f"a placement is `process`, `inline` or an http:// address, not '{placement}'")


def connect(
    placed: Placed[Any], limits: BatchLimits, *, name: str = "", method: str = "predict", model: str = ""
) -> RunnerHandle:
    """Return the handle of a model whose default batch method is `method`. A runner's only model needs no name."""
    service = _service(placed)
    if not model and method not in service.apis:
        raise ValueError(f"{service.name} has no batch method '{method}'")
    handle = RunnerHandle(name or service.name, limits, method=method)
    placed.connect(ConnectedModel(handle, model, method))
    return handle


def hosted_models(instance: Any, service: Service[Any], *, may_block: bool = False) -> HostedModels:
    """Return the models of an instance of a BentoML service: those that its `hosted` loads, or the one that it is."""
    hosted: Callable[..., HostedModels] | None = getattr(instance, "hosted", None)
    if hosted is not None:
        return hosted(may_block)
    batchable = [name for name, method in service.apis.items() if method.batchable]
    threads = int(service.config.get("threads") or 1)
    return HostedModels.of(host(instance, batchable, name=service.name, threads=threads, may_block=may_block))


def _service(placed: Placed[T]) -> Service[T]:
    if placed.on is None:
        raise ValueError("a placed runner names its service")
    return placed.on


def _hosted(placed: Placed[Any], service: Service[Any]) -> HostedModels:
    return hosted_models(placed.get(), service)
