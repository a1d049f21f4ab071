"""The gateway's runners: a group-commit queue in front of whatever answers, with arrays or JSON going in and out.

The three placements differ only in the client behind the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from models.errors import RunnerUnavailable
from serving.batching import BatchLimits, GroupCommit, Item, QueueGauge
from serving.frames import Answer, Payload, Question
from serving.runners import ModelRef, QueryAnswer, RowsAnswer, RunnerStatus

# A JSON query's size is not known before it is encoded; queries are small.
QUERY_BYTES = 256


class Client(Protocol):
    """What asks a runner: `hop.HopClient` or `inline.InlineClient`."""

    @property
    def last_status(self) -> RunnerStatus: ...

    def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def call(self, questions: Sequence[Question]) -> Sequence[Answer | Exception]: ...

    async def status(self, *, timeout_s: float) -> RunnerStatus: ...

    async def reload(self, version: str | None, *, timeout_s: float) -> ModelRef: ...


class Connected:
    """One runner as the gateway sees it. `start` gives it its client; before that it is unavailable."""

    def __init__(self, name: str, limits: BatchLimits) -> None:
        self.name = name
        self.limits = limits
        self._client: Client | None = None
        self._queue: GroupCommit[Payload, Answer] = GroupCommit(self._call, limits)

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
            self._queue.refuse_waiting(RunnerUnavailable("the model is not available"))

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """Ask the runner how it is. Never raises."""
        return self.last_status if self._client is None else await self._client.status(timeout_s=timeout_s)

    async def reload(self, version: str | None, *, timeout_s: float = 300.0) -> ModelRef:
        """Have the runner serve another version: `None` is the configured one, or the latest.

        Raises ArtifactError with the reason when it cannot; the old version then serves on.
        """
        if self._client is None:
            raise RunnerUnavailable("the model is not available")
        return await self._client.reload(version, timeout_s=timeout_s)

    async def _ask(self, payload: Payload, *, size_bytes: int, deadline: float, key: object) -> Answer:
        client = self._client
        if client is None:
            raise RunnerUnavailable("the model is not available")
        if self._queue.in_flight and not client.last_status.ready:
            # A call hangs: do not queue behind it.
            raise RunnerUnavailable("the model is not available")
        return await self._queue.submit(
            payload, rows=len(payload), size_bytes=size_bytes, deadline=deadline, key=cast("Any", key)
        )

    async def _call(self, items: Sequence[Item[Payload, Answer]]) -> Sequence[Answer | Exception]:
        client = self._client
        if client is None:
            raise RunnerUnavailable("the model is not available")
        return await client.call(
            [Question(item.payload, item.rows, item.request_id, item.deadline, item.traceparent) for item in items]
        )


class ConnectedRows(Connected):
    """A `RowsRunner`."""

    async def predict(self, rows: NDArray[Any], *, deadline: float) -> RowsAnswer:
        """Answer all rows or raise for this caller alone; see `RowsRunner.predict`."""
        answer = await self._ask(rows, size_bytes=rows.nbytes, deadline=deadline, key=(rows.dtype.num, rows.shape[1:]))
        return RowsAnswer(cast("NDArray[np.float32]", answer.payload), answer.model)


class ConnectedQueries(Connected):
    """A `QueryRunner`."""

    async def ask(self, queries: list[dict[str, Any]], *, deadline: float) -> QueryAnswer:
        """Answer all queries, or raise; see `QueryRunner.ask`."""
        answer = await self._ask(queries, size_bytes=QUERY_BYTES * len(queries), deadline=deadline, key=None)
        return QueryAnswer(cast("list[dict[str, Any]]", answer.payload), answer.model)
