"""The gateway's end of the hop to a runner in another process or on another host: connections, health, one safe retry.

Connections are kept open and warm by a ping every second, well under the runner's five seconds of keep-alive, so that a
call never starts on one that the other side is about to close, and a gateway that is told to stop can still finish what
it has taken after the runner's socket was removed. One further request is held open for as long as both sides live: it
breaks the moment the runner is killed. A killed runner's socket stays open in BentoML's arbiter, which accepts nothing:
a connection is therefore used only after it has answered, within a bound.

Knows frames and connections, never models.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson

from models.errors import (
    ArtifactError,
    ArtifactInvalid,
    ArtifactMissing,
    Overloaded,
    PredictionFailed,
    RunnerError,
    RunnerUnavailable,
)
from serving.concurrency import cancel_and_wait
from serving.runners.client.connection import Address, Connection, ConnectionLost, Reply, open_connection
from serving.runners.client.health import Health, State
from serving.runners.interface import ModelRef, RunnerStatus
from serving.runners.wire import MEDIA_TYPE, FrameInvalid, WireRequest, WireResponse, decode_responses, encode_requests

log = logging.getLogger("makunouchi.hop")

GREETING_S: Final = 1.0
PING_EVERY_S: Final = 1.0
PING_TIMEOUT_S: Final = 3.0
# How often the model itself answers its example: `ready` says that it does, not that it did once.
TRY_EVERY_S: Final = 10.0
TRY_TIMEOUT_S: Final = 3.0
# While a runner is down, a connection may wait this long in its backlog to be the first that it answers.
RETURN_WAIT_S: Final = 5.0
RECONNECT_S: Final = 0.2
_FRAME_HEADER: Final = f"content-type: {MEDIA_TYPE}\r\n"


class RemoteClient:
    """Asks one method of one runner. `start` before the first call; `stop` closes everything.

    `on_state` is told whether the runner is up each time that this is found out.
    """

    def __init__(
        self,
        url: str,
        *,
        method: str,
        name: str,
        connections: int = 1,
        on_state: Callable[[bool], None] | None = None,
    ) -> None:
        self.name = name
        self._address = Address.parse(url)
        self._path = f"/hop/{method}"
        self._connections = connections
        self._health = Health(name, on_state)
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def last_status(self) -> RunnerStatus:
        """What the runner last said, or why it says nothing."""
        return self._health.status

    def start(self) -> None:
        """Begin to look after the runner, in the background."""
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"hop to {self.name}")

    async def stop(self) -> None:
        """Close every connection and end the background task."""
        keeper, self._keeper = self._keeper, None
        await cancel_and_wait(keeper)
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()
        self._health.close()

    async def call(self, questions: Sequence[WireRequest], *, method: str = "") -> Sequence[WireResponse | Exception]:
        """One answer or error per question. A call that loses its connection is sent once more on another.

        All questions are to one version. `method` is another than this client's own.

        Raises RunnerUnavailable, quickly when the runner is known to be gone. Every method of a runner may be asked
        twice: it computes, and changes nothing.
        """
        lost = False
        path = f"/hop/{method}" if method else self._path
        while True:
            connection = await self._acquire()
            try:
                pieces = encode_requests(questions, now=time.monotonic())
                return self._read(await self._exchange(connection, path, pieces), len(questions))
            except ConnectionLost:
                self._health.suspect()
                if lost:
                    raise
                lost = True

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """What the runner says now. Never raises."""
        try:
            async with asyncio.timeout(timeout_s):
                if self._health.state is not State.UP:
                    await self._health.settled()
        except TimeoutError:
            return RunnerStatus(ready=False, model=None, detail="does not answer")
        return self._health.status

    async def reload(self, version: str | None, *, timeout_s: float) -> ModelRef:
        """Have the runner load another version beside the one that serves, and swap.

        Raises ArtifactError with the runner's words when it cannot, RunnerUnavailable, or TimeoutError.
        """
        said = await self._order("/hop/reload", {"version": version}, timeout_s=timeout_s)
        model = ModelRef(said["model"]["name"], said["model"]["version"])
        self._health.status = dataclasses.replace(self._health.status, ready=True, model=model)
        return model

    async def hold(self, versions: Sequence[str], *, timeout_s: float) -> tuple[str, ...]:
        """Have the runner hold exactly `versions` beside the one that answers by default. Raises as `reload` does."""
        said = await self._order("/hop/versions", {"versions": list(versions)}, timeout_s=timeout_s)
        held = tuple(str(version) for version in said["versions"])
        self._health.status = dataclasses.replace(self._health.status, versions=held)
        return held

    async def _order(self, path: str, what: Json, *, timeout_s: float) -> Json:
        async with asyncio.timeout(timeout_s):
            # On a connection of its own: it may take long, and its loss must not look like a call's.
            connection = await self._open(GREETING_S)
            try:
                return await control_call(connection, path, what)
            finally:
                connection.close()

    async def _exchange(self, connection: Connection, path: str, pieces: list[bytes | memoryview]) -> Reply:
        self._busy.add(connection)
        try:
            return await connection.request("POST", path, pieces, headers=_FRAME_HEADER)
        finally:
            self._busy.discard(connection)
            self._release(connection)

    def _read(self, reply: Reply, asked: int) -> Sequence[WireResponse | Exception]:
        if reply.status == 503:
            if b"Overloaded" in reply.body:
                raise Overloaded("too many requests wait for this model")
            self._health.suspect()
            raise RunnerUnavailable()
        if reply.status != 200:
            log.error("runner %s answered status %d to a call", self.name, reply.status)
            raise PredictionFailed("the model could not answer")
        try:
            answers = decode_responses(reply.body)
        except FrameInvalid as error:
            log.error("runner %s answered no frame: %s", self.name, error)
            raise PredictionFailed("the model could not answer") from error
        if len(answers) != asked:
            log.error("runner %s answered %d items of %d", self.name, len(answers), asked)
            raise PredictionFailed("the model could not answer")
        return answers

    async def _acquire(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        if self._health.state is State.CHECKING:
            with suppress(TimeoutError):
                async with asyncio.timeout(GREETING_S):
                    await self._health.settled()
        if self._health.state is not State.UP:
            raise RunnerUnavailable()
        try:
            return await self._open(GREETING_S)
        except RunnerUnavailable:
            self._health.suspect()
            raise

    def _release(self, connection: Connection) -> None:
        if connection.is_open and len(self._idle) <= self._connections and self._keeper is not None:
            self._idle.append(connection)
        else:
            connection.close()

    async def _open(self, timeout_s: float) -> Connection:
        """A connection that has just answered. Raises RunnerUnavailable."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(timeout_s):
                connection = await open_connection(self._address)
                self._heard(await connection.request("GET", "/hop/status"))
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, TimeoutError | RunnerUnavailable):
                raise RunnerUnavailable() from error
            raise
        return connection

    def _heard(self, reply: Reply) -> None:
        """Take in a reply to `GET /hop/status`. Raises RunnerUnavailable when the runner is not ready."""
        status = status_in(reply)
        if not status.ready:
            raise RunnerUnavailable(status.detail or "not ready")
        self._health.heard(status)

    async def _keep(self) -> None:
        """Watch the runner for as long as this client lives."""
        while True:
            try:
                first = await self._open(GREETING_S if self._health.state is State.CHECKING else RETURN_WAIT_S)
                async with asyncio.timeout(PING_TIMEOUT_S * 10):
                    await self._try_out(first)
            except (RunnerError, TimeoutError) as error:
                self._health.down(str(error) or "does not answer")
                await asyncio.sleep(RECONNECT_S)
                continue
            self._release(first)
            try:
                await self._watch()
            except (RunnerError, TimeoutError) as error:
                if self._health.state is not State.CHECKING:
                    self._health.down(str(error) or "does not answer")

    async def _try_out(self, connection: Connection) -> None:
        """A real prediction over the whole path, of the runner's own example."""
        try:
            example = await connection.request("GET", "/hop/example")
            if example.status == 200:
                tried = await connection.request("POST", self._path, [example.body], headers=_FRAME_HEADER)
                if not isinstance(self._read(tried, 1)[0], WireResponse):
                    raise RunnerUnavailable("did not answer its own example")
        except BaseException:
            connection.close()
            raise

    async def _try_again(self) -> None:
        """As `_try_out`, while calls go on. A runner that is busy is left alone: pings tell that it lives."""
        connection = await self._open(PING_TIMEOUT_S)
        with suppress(TimeoutError, Overloaded):
            async with asyncio.timeout(TRY_TIMEOUT_S):
                await self._try_out(connection)
            self._release(connection)

    async def _watch(self) -> None:
        """Return or raise when the runner has to be looked at anew."""
        session = await self._open(GREETING_S)
        held = asyncio.ensure_future(session.request("GET", "/hop/session"))
        held.add_done_callback(lambda _: self._health.alarm.set())
        try:
            self._health.alarm.clear()
            self._health.up()
            tried = time.monotonic()
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PING_EVERY_S):
                        await self._health.alarm.wait()
                if held.done() or self._health.alarm.is_set():
                    self._health.suspect()
                    raise RunnerUnavailable()
                await self._warm()
                if time.monotonic() - tried >= TRY_EVERY_S:
                    await self._try_again()
                    tried = time.monotonic()
        finally:
            held.cancel()
            with suppress(asyncio.CancelledError, RunnerError):
                await held
            session.close()

    async def _warm(self) -> None:
        """Ping every idle connection, and open what the pool lacks."""
        resting, self._idle = self._idle, []
        resting = [connection for connection in resting if connection.is_open]
        while len(resting) + len(self._busy) < self._connections:
            resting.append(await self._open(PING_TIMEOUT_S))
        if not resting:
            # All are busy: one more, so that a hung runner is told from a busy one.
            resting.append(await self._open(PING_TIMEOUT_S))
        try:
            for connection in resting:
                async with asyncio.timeout(PING_TIMEOUT_S):
                    self._heard(await connection.request("GET", "/hop/status"))
        finally:
            for connection in resting:
                self._release(connection)


Json = dict[str, Any]  # Any: JSON


async def control_call(connection: Connection, path: str, what: Json) -> Json:
    """Have a runner change something. Raises ArtifactError with its words when it cannot, and RunnerUnavailable."""
    reply = await connection.request("POST", path, [orjson.dumps(what)], headers="content-type: application/json\r\n")
    said: Json = orjson.loads(reply.body)
    if reply.status != 200:
        kinds = {"ArtifactMissing": ArtifactMissing, "ArtifactInvalid": ArtifactInvalid}
        raise kinds.get(said.get("error", ""), ArtifactError)(
            str(said.get("message", "the version could not be loaded"))
        )
    return said


def status_in(reply: Reply) -> RunnerStatus:
    """What a reply to `GET /hop/status` says. Raises RunnerUnavailable when it is none."""
    try:
        said = orjson.loads(reply.body)
        model = said.get("model")
        return RunnerStatus(
            ready=reply.status == 200,
            model=ModelRef(str(model["name"]), str(model["version"])) if model else None,
            detail=str(said.get("detail", "")),
            versions=tuple(str(each) for each in said.get("versions", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunnerUnavailable("what listens there is no runner") from error
