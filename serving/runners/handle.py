"""The gateway's runners: a group-commit queue in front of whatever answers, with arrays or JSON going in and out.

The three placements differ only in the client behind the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from models.errors import RunnerUnavailable
from serving.runners.batching import BatchLimits, DynamicBatcher, QueuedCall, QueueGauge
from serving.runners.interface import ModelRef, QueryAnswer, RowsAnswer, RunnerStatus
from serving.runners.wire import LOW_PRIORITY, Payload, WireRequest, WireResponse

# A JSON query's size is not known before it is encoded; queries are small.
QUERY_BYTES = 256


class Call(NamedTuple):
    """What the questions of one call to a runner have in common. Empty: the default version, the runner's own method.

    `alike` is what else has to be equal for payloads to go together.
    """

    version: str = ""
    method: str = ""
    alike: object = None


class Client(Protocol):
    """What asks a runner: `hop.HopClient` or `inline.InlineClient`."""

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
    """One runner as the gateway sees it. `start` gives it its client; before that it is unavailable."""

    method = ""

    def __init__(self, name: str, limits: BatchLimits) -> None:
        self.name = name
        self.limits = limits
        self._client: Client | None = None
        self._queue: DynamicBatcher[Payload, WireResponse] = DynamicBatcher(self._call, limits)
        # What nothing may wait for has a queue of its own, one call at a time, and is refused early.
        few = replace(limits, max_queue_rows=limits.max_batch_rows, calls_in_flight=1)
        self._aside: DynamicBatcher[Payload, WireResponse] = DynamicBatcher(self._call, few)

    @property
    def last_status(self) -> RunnerStatus:
        """The runner's status as it was last heard, at most some seconds ago. Costs nothing."""
        if self._client is None:
            return RunnerStatus(ready=False, model=None, detail="not started")
        return self._client.last_status

    @property
    def queued_rows(self) -> int:
        """Rows that wait."""
        return self._queue.queued_rows

    def start(self, client: Client, *, gauge: QueueGauge | None = None) -> None:
        """Use `client` from now on, and start it."""
        self._client = client
        self._queue.gauge = gauge
        client.start()

    async def stop(self) -> None:
        """Close the client. Calls in flight fail."""
        client, self._client = self._client, None
        if client is not None:
            await client.stop()

    def on_state(self, is_up: bool) -> None:
        """Told by the client: what waits for a runner that is gone is refused now, not at its deadline."""
        if self._queue.gauge is not None:
            self._queue.gauge.up(is_up)
        if not is_up:
            for queue in (self._queue, self._aside):
                queue.refuse_waiting(RunnerUnavailable())

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """Ask the runner how it is. Never raises."""
        return self.last_status if self._client is None else await self._client.status(timeout_s=timeout_s)

    async def reload(self, version: str | None, *, timeout_s: float = 300.0) -> ModelRef:
        """Have the runner serve another version: `None` is the configured one, or the latest.

        Raises ArtifactError with the reason when it cannot; the old version then serves on.
        """
        if self._client is None:
            raise RunnerUnavailable()
        return await self._client.reload(version, timeout_s=timeout_s)

    async def hold(self, versions: Sequence[str], *, timeout_s: float = 300.0) -> tuple[str, ...]:
        """Have the runner hold exactly `versions` beside the one that answers by default. Raises as `reload` does."""
        if self._client is None:
            raise RunnerUnavailable()
        return await self._client.hold(versions, timeout_s=timeout_s)

    async def _ask(
        self, payload: Payload, call: Call, *, size_bytes: int, deadline: float, is_low_priority: bool
    ) -> WireResponse:
        client = self._client
        if client is None:
            raise RunnerUnavailable()
        queue = self._aside if is_low_priority else self._queue
        if queue.in_flight and not client.last_status.ready:
            # A call hangs: do not queue behind it.
            raise RunnerUnavailable()
        return await queue.submit(payload, rows=len(payload), size_bytes=size_bytes, deadline=deadline, key=call)

    async def _call(self, items: Sequence[QueuedCall[Payload, WireResponse]]) -> Sequence[WireResponse | Exception]:
        client = self._client
        if client is None:
            raise RunnerUnavailable()
        call = cast("Call", items[0].key)
        questions = [
            WireRequest(item.payload, item.rows, item.request_id, item.deadline, item.traceparent, call.version)
            for item in items
        ]
        return await client.call(questions, method=call.method)


class RowRunnerHandle(RunnerHandle):
    """A `RowsRunner`."""

    method = "predict"

    async def predict(
        self, rows: NDArray[Any], *, deadline: float, version: str = "", method: str = "", is_low_priority: bool = False
    ) -> RowsAnswer:
        """WireResponse all rows or raise for this caller alone; see `RowsRunner.predict`."""
        asked = LOW_PRIORITY + (method or self.method) if is_low_priority else method
        call = Call(version, asked, (rows.dtype.num, rows.shape[1:]))
        answer = await self._ask(rows, call, size_bytes=rows.nbytes, deadline=deadline, is_low_priority=is_low_priority)
        return RowsAnswer(cast("NDArray[np.float32]", answer.payload), answer.model)


class QueryRunnerHandle(RunnerHandle):
    """A `QueryRunner`."""

    method = "ask"

    async def ask(
        self, queries: list[dict[str, Any]], *, deadline: float, version: str = "", is_low_priority: bool = False
    ) -> QueryAnswer:
        """WireResponse all queries, or raise; see `QueryRunner.ask`."""
        call = Call(version, LOW_PRIORITY + self.method if is_low_priority else "")
        size_bytes = QUERY_BYTES * len(queries)
        answer = await self._ask(
            queries, call, size_bytes=size_bytes, deadline=deadline, is_low_priority=is_low_priority
        )
        return QueryAnswer(cast("list[dict[str, Any]]", answer.payload), answer.model)
