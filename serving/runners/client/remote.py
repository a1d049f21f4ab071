"""The client of a runner in another process or on another host."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from models.errors import Overloaded, PredictionFailed, RunnerUnavailable
from serving.concurrency import cancel_and_wait
from serving.runners.client import timing
from serving.runners.client.connection import Address, Connection, ConnectionLost, Reply
from serving.runners.client.control import RELOAD_PATH, VERSIONS_PATH, Json, control_call
from serving.runners.client.health import Health, State
from serving.runners.client.monitor import Monitor
from serving.runners.client.pool import FRAME_HEADER, ConnectionPool
from serving.runners.interface import ModelRef, RunnerStatus
from serving.runners.wire import (
    RUNNER_PATH,
    FrameInvalid,
    WireRequest,
    WireResponse,
    decode_responses,
    encode_requests,
)

log = logging.getLogger("makunouchi.runners")

FAILED = "the model could not answer"


class RemoteClient:
    """Client of one runner, whose default batch method is `method`. Call `start` before the first call.

    `token` is sent to a runner that is reached over TCP. `on_state` is called with whether the runner is up after each
    check. `process` is the name of the runner's service.
    """

    def __init__(
        self,
        url: str,
        *,
        method: str,
        name: str,
        connections: int = 1,
        token: str = "",
        on_state: Callable[[bool], None] | None = None,
        process: str = "",
    ) -> None:
        self.name = name
        self._method = method
        self._health = Health(name, on_state, process=process)
        self._pool = ConnectionPool(Address.parse(url, token=token), self._health, size=connections)
        self._monitor = Monitor(self._pool, self._health, self._run_example)
        self._task: asyncio.Task[None] | None = None

    @property
    def last_status(self) -> RunnerStatus:
        """The last status of the runner, or the reason why there is none."""
        return self._health.status

    def start(self) -> None:
        """Connect to the runner and monitor it in the background."""
        if self._task is None:
            self._pool.start()
            self._task = asyncio.get_running_loop().create_task(self._monitor.run(), name=f"monitor of {self.name}")

    async def stop(self) -> None:
        """Close every connection and end the background task."""
        task, self._task = self._task, None
        await cancel_and_wait(task)
        self._pool.close()
        self._health.close()

    async def call(self, requests: Sequence[WireRequest], *, method: str = "") -> Sequence[WireResponse | Exception]:
        """Return one answer or error per request, all for one version, of the batch method `method` or the default one.

        A call that loses its connection is sent once more on another, if need be to the process that replaces a dead
        one: every batch method computes and changes nothing. Raises RunnerUnavailable, immediately when the runner is
        known to be down.
        """
        path = RUNNER_PATH + (method or self._method)
        is_retry = False
        while True:
            connection = await self._pool.acquire()
            try:
                reply = await self._pool.post(connection, path, encode_requests(requests, now=time.monotonic()))
                return self._read(reply, len(requests))
            except ConnectionLost:
                self._health.request_check()
                if is_retry:
                    raise
                is_retry = True
                await self._wait_for_replacement(max(request.deadline for request in requests))

    async def _wait_for_replacement(self, deadline: float) -> None:
        """Wait until the runner is up, as long as a call due at `deadline` can still be answered."""
        left_s = deadline - time.monotonic() - timing.RETRY_MARGIN_S
        with suppress(TimeoutError):
            async with asyncio.timeout(min(left_s, timing.REPLACEMENT_TIMEOUT_S)):
                await self._health.wait_until_up()

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """Return the status, after the check that is under way if there is one. Never raises."""
        try:
            async with asyncio.timeout(timeout_s):
                if self._health.state is not State.UP:
                    await self._health.wait_until_checked()
        except TimeoutError:
            return RunnerStatus(ready=False, model=None, detail="does not answer")
        return self._health.status

    async def reload(self, version: str | None, *, timeout_s: float) -> ModelRef:
        """Make the runner load `version`, None for the configured one, as its default version.

        Raises ArtifactError with the runner's message when it cannot, RunnerUnavailable, or TimeoutError.
        """
        response = await self._control(RELOAD_PATH, {"version": version}, timeout_s=timeout_s)
        model = ModelRef(response["model"]["name"], response["model"]["version"])
        self._health.record_status(dataclasses.replace(self._health.status, ready=True, model=model))
        return model

    async def hold(self, versions: Sequence[str], *, timeout_s: float) -> tuple[str, ...]:
        """Make the runner load exactly `versions` for the calls that name them. Raises as `reload`."""
        response = await self._control(VERSIONS_PATH, {"versions": list(versions)}, timeout_s=timeout_s)
        held = tuple(str(version) for version in response["versions"])
        self._health.record_status(dataclasses.replace(self._health.status, ready=True, versions=held))
        return held

    async def _control(self, path: str, request: Json, *, timeout_s: float) -> Json:
        """Send a control call over its own connection: it may take long, and its loss must not fail other calls."""
        async with asyncio.timeout(timeout_s):
            connection = await self._pool.open(timing.CONNECT_TIMEOUT_S)
            try:
                return await control_call(connection, path, request)
            finally:
                connection.close()

    async def _run_example(self, connection: Connection) -> None:
        """Predict the runner's own example over `connection`. Raises RunnerError when that fails."""
        example = await connection.request("GET", f"{RUNNER_PATH}example")
        if example.status == 200:
            path = RUNNER_PATH + self._method
            reply = await connection.request("POST", path, [example.body], headers=FRAME_HEADER)
            if not isinstance(self._read(reply, 1)[0], WireResponse):
                raise RunnerUnavailable("did not answer its own example")

    def _read(self, reply: Reply, count: int) -> Sequence[WireResponse | Exception]:
        """Return the `count` results in a reply. Raises Overloaded, RunnerUnavailable, PredictionFailed."""
        if reply.status == 503:
            if b"Overloaded" in reply.body:
                raise Overloaded("too many requests wait for this model")
            self._health.request_check()
            raise RunnerUnavailable()
        if reply.status != 200:
            log.error("runner %s answered a call with status %d", self.name, reply.status)
            raise PredictionFailed(FAILED)
        try:
            results = decode_responses(reply.body)
        except FrameInvalid as error:
            log.error("runner %s sent an invalid frame: %s", self.name, error)
            raise PredictionFailed(FAILED) from error
        if len(results) != count:
            log.error("runner %s answered %d items of %d", self.name, len(results), count)
            raise PredictionFailed(FAILED)
        return results
