"""Monitors a runner in another process.

A ping every second keeps connections open, well under the runner's keep-alive of five seconds: a call never starts on a
connection that the runner is about to close, and a gateway can finish its requests after the runner's socket was
removed. One more request, the session, stays open for as long as both sides live; it ends the moment the runner is
killed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from models.errors import Overloaded, RunnerError, RunnerUnavailable
from serving.runners.client import timing
from serving.runners.client.connection import Connection, NotListening
from serving.runners.client.health import Health, State
from serving.runners.client.pool import ConnectionPool
from serving.runners.wire import RUNNER_PATH


class Monitor:
    """Monitor of one runner. `run_examples` sends the examples of some models over a connection, or of all for None.

    It records the models that do not answer, and raises RunnerError for a connection that is lost.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        health: Health,
        run_examples: Callable[[Connection, frozenset[str] | None], Awaitable[None]],
    ) -> None:
        self._pool = pool
        self._health = health
        self._run_examples = run_examples

    async def run(self) -> None:
        """Check the runner until this task is cancelled."""
        while True:
            is_checking = self._health.state is State.CHECKING
            try:
                first = await self._pool.open(timing.CONNECT_TIMEOUT_S if is_checking else timing.RECOVERY_TIMEOUT_S)
                async with asyncio.timeout(timing.PING_TIMEOUT_S * 10):
                    await self._check_examples(first)
            except (RunnerError, TimeoutError) as error:
                self._health.set_down(str(error) or "does not answer")
                await asyncio.sleep(timing.RETRY_EVERY_S)
                continue
            self._pool.release(first)
            try:
                await self._watch()
            except (RunnerError, TimeoutError) as error:
                if self._health.state is not State.CHECKING:
                    self._health.set_down(str(error) or "does not answer")

    async def _watch(self) -> None:
        """Ping the runner until it needs another check; raises RunnerError or TimeoutError then."""
        connection = await self._pool.open(timing.CONNECT_TIMEOUT_S)
        self._health.check_requested.clear()
        session = asyncio.ensure_future(connection.request("GET", f"{RUNNER_PATH}session"))
        session.add_done_callback(lambda _: self._health.check_requested.set())
        requested = asyncio.ensure_future(self._health.check_requested.wait())
        # Ends with a request for a check: after a loss, the connection that a ping opens may wait for a new process.
        pings = asyncio.ensure_future(self._ping())
        try:
            self._health.set_up()
            await asyncio.wait({requested, pings}, return_when=asyncio.FIRST_COMPLETED)
            if pings.done():
                pings.result()
            self._health.request_check()
            raise RunnerUnavailable()
        finally:
            tasks = (session, requested, pings)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            connection.close()

    async def _ping(self) -> None:
        """Ping the runner and check its examples until it does not answer; raises RunnerError or TimeoutError then."""
        checked = time.monotonic()
        while True:
            await asyncio.sleep(timing.PING_EVERY_S)
            await self._pool.ping()
            failed = self._health.failed_examples
            if time.monotonic() - checked >= timing.EXAMPLE_EVERY_S:
                await self._check_examples_under_load()
                checked = time.monotonic()
            elif failed:
                await self._check_examples_under_load(failed)

    async def _check_examples(self, connection: Connection, models: frozenset[str] | None = None) -> None:
        try:
            await self._run_examples(connection, models)
        except BaseException:
            connection.close()
            raise

    async def _check_examples_under_load(self, models: frozenset[str] | None = None) -> None:
        """Check examples while calls continue. A busy runner passes, and one that shuts down: they answer pings."""
        with suppress(TimeoutError, Overloaded, NotListening):
            connection = await self._pool.open(timing.PING_TIMEOUT_S)
            async with asyncio.timeout(timing.EXAMPLE_TIMEOUT_S):
                await self._check_examples(connection, models)
            self._pool.release(connection)
