"""The handle of a runner in the gateway: a dynamic batcher in front of a client.

The placements of a runner differ in the client only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from models.errors import RunnerUnavailable, VersionNotLoaded
from serving.context import Priority, current_priority
from serving.runners.batching import BatchLimits, DynamicBatcher, QueueGauge
from serving.runners.interface import ModelRef, Replicas, RunnerResponse, RunnerStatus
from serving.runners.queued_call import QueuedCall
from serving.runners.splitting import submit_in_parts
from serving.runners.wire import LOW_PRIORITY, Payload, WireRequest, WireResponse, bytes_of, shape_of


class Call(NamedTuple):
    """What all requests of one call to a runner share. Empty fields mean the default version and method.

    `shape` is what else must be equal for payloads to be sent together.
    """

    version: str = ""
    method: str = ""
    shape: object = None


class Client(Protocol):
    """The connection to a runner: a `RemoteClient` or a `LocalClient`."""

    @property
    def last_status(self) -> RunnerStatus: ...

    def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def call(
        self, questions: Sequence[WireRequest], *, method: str = ""
    ) -> Sequence[WireResponse | Exception]: ...

    async def status(self, *, timeout_s: float) -> RunnerStatus: ...

    async def reload(self, version: str | None, *, timeout_s: float) -> ModelRef: ...

    async def hold(self, versions: Sequence[str], *, timeout_s: float) -> tuple[str, ...]: ...


class RunnerHandle:
    """One runner. It is unavailable until `start` sets its client."""

    def __init__(self, name: str, limits: BatchLimits, *, method: str = "predict") -> None:
        self.name = name
        self.method = method
        self.limits = limits
        self._client: Client | None = None
        self._queue: DynamicBatcher[Payload, WireResponse] = DynamicBatcher(self._call, limits)
        self._batch_queue: DynamicBatcher[Payload, WireResponse] = DynamicBatcher(
            partial(self._call, priority="batch"), limits, priority="batch", ahead=self._queue
        )
        # Low-priority payloads have a separate queue with one call at a time and a small bound.
        few = replace(limits, max_queue_rows=limits.max_batch_rows, calls_in_flight=1)
        self._low_priority: DynamicBatcher[Payload, WireResponse] = DynamicBatcher(self._call, few)
        self._queues = (self._queue, self._batch_queue, self._low_priority)

    @property
    def last_status(self) -> RunnerStatus:
        """The status as it was last reported, at most some seconds ago. Sends nothing."""
        if self._client is None:
            return RunnerStatus(ready=False, model=None, detail="not started")
        return self._client.last_status

    @property
    def queued_rows(self) -> int:
        """The number of waiting rows."""
        return self._queue.queued_rows

    @property
    def is_idle(self) -> bool:
        """Whether no call is in flight and no row waits."""
        return not any(queue.in_flight or queue.queued_rows for queue in self._queues)

    def start(self, client: Client, *, gauge: QueueGauge | None = None) -> None:
        """Set the client and start it."""
        self._client = client
        self._queue.gauge = self._batch_queue.gauge = gauge
        client.start()

    async def stop(self) -> None:
        """Close the client. Calls in flight fail."""
        client, self._client = self._client, None
        if client is not None:
            await client.stop()

    def on_state(self, is_up: bool) -> None:
        """Record whether the runner is up. Requests that wait for a runner that is down are refused at once."""
        if self._queue.gauge is not None:
            self._queue.gauge.up(is_up)
            replicas = self.last_status.replicas or Replicas(up=int(is_up), number=1)
            self._queue.gauge.replicas(replicas.up, replicas.number)
        if not is_up:
            for queue in self._queues:
                queue.refuse_waiting(RunnerUnavailable())

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """Ask the runner for its status. Never raises."""
        return self.last_status if self._client is None else await self._client.status(timeout_s=timeout_s)

    async def reload(self, version: str | None, *, timeout_s: float = 300.0) -> ModelRef:
        """Make the runner serve another version by default: `None` is the configured one, or the latest.

        Raises ArtifactError with the reason when it cannot; the old version then serves on.
        """
        if self._client is None:
            raise RunnerUnavailable()
        return await self._client.reload(version, timeout_s=timeout_s)

    async def hold(self, versions: Sequence[str], *, timeout_s: float = 300.0) -> tuple[str, ...]:
        """Load exactly `versions` in addition to the default one. Raises as `reload`."""
        if self._client is None:
            raise RunnerUnavailable()
        return await self._client.hold(versions, timeout_s=timeout_s)

    async def predict(
        self,
        payload: Payload,
        *,
        deadline: float,
        version: str = "",
        method: str = "",
        is_low_priority: bool = False,
    ) -> RunnerResponse:
        """Answer all rows of `payload`, or raise for this caller alone; see `ModelRunner.predict`."""
        client = self._client
        if client is None:
            raise RunnerUnavailable()
        queue = self._queue
        if is_low_priority:
            queue = self._low_priority
        elif current_priority() == "batch":
            queue = self._batch_queue
        if queue.in_flight and not client.last_status.ready:
            # A call hangs: do not queue behind it.
            raise RunnerUnavailable()
        if is_low_priority:
            method = LOW_PRIORITY + (method or self.method)
        call = Call(version, method, shape_of(payload))
        rows, size_bytes = len(payload), bytes_of(payload)
        if rows > self.limits.max_batch_rows or size_bytes > self.limits.max_batch_bytes:
            return _joined(await submit_in_parts(queue, payload, size_bytes=size_bytes, deadline=deadline, key=call))
        response = await queue.submit(payload, rows=rows, size_bytes=size_bytes, deadline=deadline, key=call)
        return RunnerResponse(response.payload, response.model)

    async def _call(
        self, items: Sequence[QueuedCall[Payload, WireResponse]], priority: Priority = "interactive"
    ) -> Sequence[WireResponse | Exception]:
        client = self._client
        if client is None:
            raise RunnerUnavailable()
        call = cast("Call", items[0].key)
        version = call.version
        requests = [
            WireRequest(item.payload, item.rows, item.request_id, item.deadline, item.traceparent, version, priority)
            for item in items
        ]
        return await client.call(requests, method=call.method)


def _joined(answers: Sequence[WireResponse]) -> RunnerResponse:
    """Return the answers to the parts of one request as one. Raises VersionNotLoaded where versions differ."""
    model = answers[0].model
    if any(answer.model != model for answer in answers):
        raise VersionNotLoaded("the version changed while the request was answered")
    values: Any = [answer.payload for answer in answers]  # Any: a Payload
    joined = np.concatenate(values) if isinstance(values[0], np.ndarray) else [row for part in values for row in part]
    return RunnerResponse(joined, model)
