"""The clients of the models of a runner in another process or on another host."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from models.errors import Overloaded, PredictionFailed, RunnerUnavailable
from serving.concurrency import cancel_and_wait
from serving.runners.client import timing
from serving.runners.client.connection import Address, Connection, ConnectionLost, Reply
from serving.runners.client.control import LOAD_PATH, UNLOAD_PATH, Json, control_call
from serving.runners.client.health import Health, State
from serving.runners.client.monitor import Monitor
from serving.runners.client.pool import FRAME_HEADER, ConnectionPool
from serving.runners.interface import ModelRef, RunnerStatus
from serving.runners.wire import (
    FrameInvalid,
    WireRequest,
    WireResponse,
    decode_responses,
    encode_requests,
    model_path,
)

log = logging.getLogger("makunouchi.runners")

FAILED = "the model could not answer"


class RemoteRunner:
    """The connection to one runner process, which the clients of its models share.

    `connections` is the number of idle connections that it keeps. `token` is sent to a runner that is reached over TCP.
    """

    def __init__(self, url: str, *, name: str, connections: int = 1, token: str = "") -> None:
        self.name = name
        self.health = Health(name)
        self.pool = ConnectionPool(Address.parse(url, token=token), self.health, size=connections)
        self._clients: dict[str, RemoteClient] = {}
        self._monitor = Monitor(self.pool, self.health, self._run_examples)
        self._task: asyncio.Task[None] | None = None

    def attach(self, client: RemoteClient) -> None:
        """Monitor the model of a client; the first one connects to the runner."""
        self._clients[client.model] = client
        if self._task is None:
            self.pool.start()
            self._task = asyncio.get_running_loop().create_task(self._monitor.run(), name=f"monitor of {self.name}")

    async def detach(self, client: RemoteClient) -> None:
        """Monitor this model no longer; the last one closes every connection and ends the background task."""
        if self._clients.get(client.model) is not client:
            return
        del self._clients[client.model]
        self.health.unwatch(client.model)
        if not self._clients:
            task, self._task = self._task, None
            await cancel_and_wait(task)
            self.pool.close()
            self.health.close()

    @property
    def is_up(self) -> bool:
        """Whether the runner answers."""
        return self.health.state is State.UP

    def loaded(self) -> frozenset[str]:
        """Return the models that the runner has loaded, as it last reported."""
        return self.health.loaded_models() if self.is_up else frozenset()

    async def load(self, name: str, spec: Mapping[str, Any], *, timeout_s: float) -> None:
        """Make the runner load the model of an entry of the model list under a name.

        Raises ArtifactError with the runner's message when it cannot, RunnerUnavailable, or TimeoutError.
        """
        status = await self.control(LOAD_PATH, {"name": name, "entry": dict(spec)}, timeout_s=timeout_s)
        model = ModelRef(status["model"]["name"], status["model"]["version"])
        self.health.record_model(name, model=model, versions=tuple(status["versions"]))

    async def unload(self, name: str, *, timeout_s: float) -> None:
        """Make the runner drop a model. Raises as `load`."""
        await self.control(UNLOAD_PATH, {"name": name}, timeout_s=timeout_s)

    async def control(self, path: str, request: Json, *, timeout_s: float) -> Json:
        """Send a control call over its own connection: it may take long, and its loss must not fail other calls."""
        async with asyncio.timeout(timeout_s):
            connection = await self.pool.open(timing.CONNECT_TIMEOUT_S)
            try:
                return await control_call(connection, path, request)
            finally:
                connection.close()

    async def _run_examples(self, connection: Connection, models: frozenset[str] | None) -> None:
        for name, client in list(self._clients.items()):
            if models is None or name in models:
                await client.check_example(connection)


class RemoteClient:
    """Client of one model of `runner`, whose default batch method is `method`. Call `start` before the first call.

    A runner of one model has it under the empty name. `on_state` is called with whether the model is ready after each
    check of the runner. `repeats_lost_calls`: a call that loses its connection is sent once more on another.
    """

    def __init__(
        self,
        runner: RemoteRunner,
        *,
        method: str,
        model: str = "",
        on_state: Callable[[bool], None] | None = None,
        repeats_lost_calls: bool = True,
    ) -> None:
        self.model = model
        self._repeats_lost_calls = repeats_lost_calls
        self._runner = runner
        self._health = runner.health
        self._pool = runner.pool
        self._method = method
        self._path = model_path(model)
        self._on_state = on_state

    @property
    def last_status(self) -> RunnerStatus:
        """The last status of the model, or the reason why there is none."""
        return self._health.status(self.model)

    @property
    def is_up(self) -> bool:
        """Whether the runner answers."""
        return self._runner.is_up

    @property
    def may_answer(self) -> bool:
        """Whether the runner answers, or is being checked."""
        return self._health.state in (State.UP, State.CHECKING)

    def start(self) -> None:
        """Connect to the runner, unless another client has, and monitor the model in the background."""
        if self._on_state is not None:
            self._health.watch(self.model, self._on_state)
        self._runner.attach(self)

    async def stop(self) -> None:
        """Monitor the model no longer. The last client of a runner closes its connections."""
        await self._runner.detach(self)

    async def call(self, requests: Sequence[WireRequest], *, method: str = "") -> Sequence[WireResponse | Exception]:
        """Return one answer or error per request, all for one version, of the batch method `method` or the default one.

        A call that loses its connection is sent once more on another, if need be to the process that replaces a dead
        one: every batch method computes and changes nothing. Raises RunnerUnavailable, immediately when the runner is
        known to be down.
        """
        if self._health.state is State.UP and not self.last_status.ready:
            raise RunnerUnavailable()
        path = self._path + (method or self._method)
        is_retry = not self._repeats_lost_calls
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
        return self.last_status

    async def reload(self, version: str | None, *, timeout_s: float) -> ModelRef:
        """Make the runner load `version`, None for the configured one, as its default version.

        Raises ArtifactError with the runner's message when it cannot, RunnerUnavailable, or TimeoutError.
        """
        request = {"version": version}
        response = await self._runner.control(f"{self._path}reload", request, timeout_s=timeout_s)
        model = ModelRef(response["model"]["name"], response["model"]["version"])
        self._health.record_model(self.model, model=model)
        return model

    async def hold(self, versions: Sequence[str], *, timeout_s: float) -> tuple[str, ...]:
        """Make the runner load exactly `versions` for the calls that name them. Raises as `reload`."""
        request = {"versions": list(versions)}
        response = await self._runner.control(f"{self._path}versions", request, timeout_s=timeout_s)
        held = tuple(str(version) for version in response["versions"])
        self._health.record_model(self.model, versions=held)
        return held

    async def check_example(self, connection: Connection) -> None:
        """Predict the model's own example over `connection`, and record a failure.

        Raises ConnectionLost, and Overloaded when too many calls wait.
        """
        if self._health.loaded(self.model):
            try:
                await self._run_example(connection)
            except (ConnectionLost, Overloaded):
                raise
            except (RunnerUnavailable, PredictionFailed) as error:
                self._health.record_example(self.model, str(error))
            else:
                self._health.record_example(self.model, "")

    async def _run_example(self, connection: Connection) -> None:
        example = await connection.request("GET", f"{self._path}example")
        if example.status == 200:
            path = self._path + self._method
            reply = await connection.request("POST", path, [example.body], headers=FRAME_HEADER)
            if not isinstance(self._read(reply, 1)[0], WireResponse):
                raise RunnerUnavailable("did not answer its own example")

    def _read(self, reply: Reply, count: int) -> Sequence[WireResponse | Exception]:
        """Return the `count` results in a reply. Raises Overloaded, RunnerUnavailable, PredictionFailed."""
        name = self.model or self._runner.name
        if reply.status == 503:
            if b"Overloaded" in reply.body:
                raise Overloaded("too many requests wait for this model")
            if b"NotLoaded" not in reply.body:
                self._health.request_check()
            raise RunnerUnavailable()
        if reply.status != 200:
            log.error("runner %s answered a call with status %d", name, reply.status)
            raise PredictionFailed(FAILED)
        try:
            results = decode_responses(reply.body)
        except FrameInvalid as error:
            log.error("runner %s sent an invalid frame: %s", name, error)
            raise PredictionFailed(FAILED) from error
        if len(results) != count:
            log.error("runner %s answered %d items of %d", name, len(results), count)
            raise PredictionFailed(FAILED)
        return results
