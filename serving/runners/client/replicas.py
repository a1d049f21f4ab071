"""Several processes of one runner, and the clients of the models that all of them hold.

A call goes to the process with the fewest rows in flight. A call that is lost with its process is sent once more to
another one: batch methods compute and change nothing. Changes of models reach every process that is up; the others
read the desired state when they start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from operator import is_not
from typing import Any, TypeVar

from models.errors import RunnerUnavailable
from serving.runners.client.remote import RemoteClient, RemoteRunner
from serving.runners.interface import ModelRef, Replicas, RunnerStatus
from serving.runners.wire import WireRequest, WireResponse

R = TypeVar("R")


class ReplicatedRunner:
    """The processes of one runner. Has the methods of `RemoteRunner` that change its models."""

    def __init__(self, replicas: Sequence[RemoteRunner]) -> None:
        self.replicas = tuple(replicas)

    @property
    def is_up(self) -> bool:
        """Whether a process answers."""
        return any(each.is_up for each in self.replicas)

    def loaded(self) -> frozenset[str]:
        """Return the models that every process that is up has loaded."""
        up = [each.loaded() for each in self.replicas if each.is_up]
        return frozenset.intersection(*up) if up else frozenset()

    async def load(self, name: str, spec: Mapping[str, Any], *, timeout_s: float) -> None:
        """As `RemoteRunner.load`, in each process. Where one cannot, the others do not have the model either."""
        up = self._up()
        new = [each for each in up if name not in each.loaded()]
        try:
            await _each(up, lambda each: each.load(name, spec, timeout_s=timeout_s))
        except BaseException:
            await asyncio.gather(*(each.unload(name, timeout_s=timeout_s) for each in new), return_exceptions=True)
            raise

    async def unload(self, name: str, *, timeout_s: float) -> None:
        """As `RemoteRunner.unload`, in each process."""
        await _each(self._up(), lambda each: each.unload(name, timeout_s=timeout_s))

    def _up(self) -> list[RemoteRunner]:
        return [each for each in self.replicas if each.is_up]


class ReplicatedClient:
    """Client of one model in all processes of `runner`. Has the methods of `RemoteClient`.

    `on_state` is called with whether the model is ready in one of them, after each check of one.
    """

    def __init__(
        self,
        runner: ReplicatedRunner,
        *,
        method: str,
        model: str = "",
        on_state: Callable[[bool], None] | None = None,
    ) -> None:
        self._on_state = on_state
        self._clients = tuple(
            RemoteClient(each, method=method, model=model, on_state=self._publish, repeats_lost_calls=False)
            for each in runner.replicas
        )
        # The rows in flight, by client. The client of the last call is the last one.
        self._rows = dict.fromkeys(self._clients, 0)
        self._seen: list[RunnerStatus] = []
        self._status = RunnerStatus(ready=False, model=None, detail="not checked yet")

    @property
    def last_status(self) -> RunnerStatus:
        """The status of the first process in which the model is ready, with the versions that all of them hold."""
        statuses = [client.last_status for client in self._clients]
        # Read several times for each request, and it changes rarely.
        if len(self._seen) != len(statuses) or any(map(is_not, statuses, self._seen)):
            self._seen, self._status = statuses, _combined(statuses)
        return self._status

    def start(self) -> None:
        """Connect to every process."""
        for client in self._clients:
            client.start()

    async def stop(self) -> None:
        """Stop the clients of all processes."""
        await asyncio.gather(*(client.stop() for client in self._clients))

    async def call(self, requests: Sequence[WireRequest], *, method: str = "") -> Sequence[WireResponse | Exception]:
        """As `RemoteClient.call`, by the process with the fewest rows in flight that holds the version."""
        rows = sum(request.rows for request in requests)
        version = requests[0].version if requests else ""
        tried: RemoteClient | None = None
        while True:
            client = self._choose(version, tried)
            self._rows[client] += rows
            try:
                return await client.call(requests, method=method)
            except RunnerUnavailable:
                if tried is not None:
                    raise
                tried = client
            finally:
                self._rows[client] -= rows

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """Return the status, after a check that is under way where no process is ready. Never raises."""
        if not self.last_status.ready:
            checks = [asyncio.ensure_future(client.status(timeout_s=timeout_s)) for client in self._clients]
            try:
                for check in asyncio.as_completed(checks):
                    if (await check).ready:
                        break
            finally:
                for task in checks:
                    task.cancel()
        return self.last_status

    async def reload(self, version: str | None, *, timeout_s: float) -> ModelRef:
        """As `RemoteClient.reload`, in one process after the other, so that the others answer at their full speed.

        Where one cannot, those that have changed return to their previous version.
        """
        changed: list[tuple[RemoteClient, ModelRef | None]] = []
        # The first one last: until then calls name the previous version, which the others still hold.
        for client in reversed(self._ready()):
            previous = client.last_status.model
            try:
                model = await client.reload(version, timeout_s=timeout_s)
            except BaseException:
                undo = [each.reload(old.version, timeout_s=timeout_s) for each, old in changed if old is not None]
                await asyncio.gather(*undo, return_exceptions=True)
                raise
            changed.append((client, previous))
        return model

    async def hold(self, versions: Sequence[str], *, timeout_s: float) -> tuple[str, ...]:
        """As `RemoteClient.hold`, in each process."""
        return (await _each(self._ready(), lambda each: each.hold(versions, timeout_s=timeout_s)))[0]

    def _ready(self) -> list[RemoteClient]:
        """Return the clients of processes in which the model is ready. Raises RunnerUnavailable for none."""
        ready = [client for client in self._clients if client.is_up and client.last_status.ready]
        if not ready:
            raise RunnerUnavailable()
        return ready

    def _choose(self, version: str, tried: RemoteClient | None) -> RemoteClient:
        """Return the client for a call: another one than `tried`, unless no other process may answer."""
        ready = [each for each in self._rows if each is not tried and each.is_up and each.last_status.ready]
        ready = ready or [each for each in self._rows if each.may_answer] or list(self._clients)
        holding = [each for each in ready if _holds(each.last_status, version)] if version else ready
        chosen = min(holding or ready, key=self._rows.__getitem__)
        self._rows[chosen] = self._rows.pop(chosen)
        return chosen

    def _publish(self, _: bool) -> None:
        if self._on_state is not None:
            self._on_state(self.last_status.ready)


def _combined(statuses: Sequence[RunnerStatus]) -> RunnerStatus:
    ready = [status for status in statuses if status.ready]
    replicas = Replicas(up=len(ready), number=len(statuses))
    if not ready:
        return replace(statuses[0], replicas=replicas)
    held = set.intersection(*(set(status.versions) for status in ready))
    return replace(
        ready[0],
        versions=tuple(version for version in ready[0].versions if version in held),
        faults={name: detail for status in ready for name, detail in status.faults.items()},
        replicas=replicas,
    )


def _holds(status: RunnerStatus, version: str) -> bool:
    return version in status.versions or (status.model is not None and status.model.version == version)


C = TypeVar("C")


async def _each(clients: Sequence[C], change: Callable[[C], Awaitable[R]]) -> list[R]:
    """Return the results of a change of each, in order. Raises the first error when all have ended."""
    if not clients:
        raise RunnerUnavailable()
    results = await asyncio.gather(*(change(each) for each in clients), return_exceptions=True)
    done: list[R] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done
