"""The placement of a runner: a separate process, the gateway's process, or another host; and its handle.

    image = place(ImageRunner, settings.image_placement)
    handle = connect(image, limits)

Both are free of I/O and can stand at the top of `service.py`. `GatewayService` starts what was connected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs
from _bentoml_sdk.service import Service  # type: ignore[import-untyped]
from _bentoml_sdk.service.dependency import Dependency  # type: ignore[import-untyped]

from models.errors import SettingsInvalid
from serving.runners.batching import BatchLimits
from serving.runners.client.local import LocalClient, host
from serving.runners.client.remote import RemoteClient
from serving.runners.handle import Client, RunnerHandle
from serving.runners.host.instance import RunnerInstance

T = TypeVar("T")


@attrs.define(eq=False)
class Placed(Dependency[T]):  # type: ignore[misc]
    """A dependency of the gateway with the placement of its runner and the gateway's handle of it."""

    # BentoML's fields, repeated for their types.
    on: Service[T] | None = None
    deployment: str | None = None
    cluster: str | None = None
    url: str | None = None
    is_inline: bool = False
    connected: RunnerHandle | None = None
    method: str = ""


def place(runner: Service[T], placement: str) -> Placed[T]:
    """Return a dependency on `runner`. `placement` is `process`, `inline`, or the http(s):// address of another host.

    Raises SettingsInvalid.
    """
    if placement == "process":
        return Placed(on=runner)
    if placement == "inline":
        return Placed(on=runner, is_inline=True)
    if placement.startswith(("http://", "https://")):
        return Placed(on=runner, url=placement)
    raise SettingsInvalid(f"a placement is `process`, `inline` or an http:// address, not '{placement}'")


def connect(placed: Placed[Any], limits: BatchLimits, *, name: str = "", method: str = "predict") -> RunnerHandle:
    """Return the handle of a runner whose default batch method is `method`."""
    handle = RunnerHandle(name or _service(placed).name, limits, method=method)
    if method not in _service(placed).apis:
        raise ValueError(f"{_service(placed).name} has no batch method '{method}'")
    placed.connected = handle
    placed.method = method
    return handle


def client_of(placed: Placed[Any], addresses: dict[str, str], *, token: str = "") -> Client:
    """Return the client of a runner. `addresses` is BentoML's map of the runners with their own process.

    `token` is sent to runners that are reached over TCP.
    """
    connected = placed.connected
    if connected is None:
        raise ValueError(f"{_service(placed).name} is a dependency without a connection")
    service = _service(placed)
    url = placed.url or (None if placed.is_inline else addresses.get(service.name))
    options: dict[str, Any] = {  # Any: keyword arguments of both clients
        "method": placed.method, "name": connected.name, "on_state": connected.on_state,
    }  # fmt: skip
    if url:
        connections = connected.limits.calls_in_flight
        return RemoteClient(url, connections=connections, token=token, process=service.name, **options)
    return LocalClient(lambda: _host(placed, service), **options)


def _service(placed: Placed[T]) -> Service[T]:
    if placed.on is None:
        raise ValueError("a placed runner names its service")
    return placed.on


def _host(placed: Placed[Any], service: Service[Any]) -> RunnerInstance:
    instance: Callable[..., Any] = placed.get()
    batchable = [name for name, method in service.apis.items() if method.batchable]
    return host(instance, batchable, name=service.name, threads=int(service.config.get("threads") or 1))
