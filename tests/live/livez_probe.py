"""A client that calls `/livez` without a pause and keeps the longest response time: how long the event loop is held."""

from __future__ import annotations

import http.client
import threading
import time
from types import TracebackType

INTERVAL_S = 0.002


class LivezProbe:
    """Calls `/livez` of the server on `port` in a thread while its block runs. `longest_s` is the longest call."""

    def __init__(self, port: int) -> None:
        self.longest_s = 0.0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
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
        started = time.perf_counter()
        self._connection.request("GET", "/livez")
        response = self._connection.getresponse()
        response.read()
        assert response.status == 200
        return time.perf_counter() - started


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
