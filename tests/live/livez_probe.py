"""A client that calls `/livez` without a pause and keeps how long the event loop of the gateway is held.

A call waits for the event loop, and on a busy machine for the processor too. While the event loop is held, the gateway
uses the processor: the shorter one of both times counts.
"""

from __future__ import annotations

import http.client
import threading
import time
from types import TracebackType

from tests.live.server import Server

INTERVAL_S = 0.002
TICK_S = 0.01


class LivezProbe:
    """Calls `/livez` of `server` in a thread while its block runs. `longest_s` is the longest time it was held."""

    def __init__(self, server: Server) -> None:
        self.longest_s = 0.0
        self._gateway = server.worker("Gateway")
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> LivezProbe:
        self._call()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._is_over.wait(INTERVAL_S):
            self.longest_s = max(self.longest_s, self._call())

    def _call(self) -> float:
        started, used_s = time.perf_counter(), self._used_s()
        self._connection.request("GET", "/livez")
        response = self._connection.getresponse()
        response.read()
        assert response.status == 200
        # The processor time is counted in ticks.
        return min(time.perf_counter() - started, self._used_s() - used_s + TICK_S)

    def _used_s(self) -> float:
        times = self._gateway.cpu_times()
        return float(times.user + times.system)


def post(port: int, path: str, content_type: str, body: bytes) -> int:
    """Send a request, and return the status of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", path, body, {"Content-Type": content_type})
        response = connection.getresponse()
        response.read()
        return response.status
    except (ConnectionError, TimeoutError):
        # The server may refuse a body and close the connection before it is sent.
        return 0
    finally:
        connection.close()
