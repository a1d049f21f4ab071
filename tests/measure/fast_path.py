"""Measure the fast path without a network and without a model: `python -m tests.measure.fast_path`

The smallest of many rounds is steady where throughput is not: other processes cannot make it smaller.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from serving.observability.metrics import ServiceMetrics
from serving.observability.request_recorder import RequestRecorder
from serving.process.graceful_shutdown import GracefulShutdown
from serving.server.fast_path.batch_queue import BatchQueue, FastOperation
from serving.server.fast_path.protocol import FastPathProtocol

PATH = "/sum"
BODY = b"[1.0, 2.0, 3.0, 4.0]"
REQUEST = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    PATH.encode(),
    len(BODY),
    BODY,
)


class CountingTransport(asyncio.Transport):
    """A transport that counts the responses, which are written whole."""

    def __init__(self) -> None:
        super().__init__()
        self.responses = 0

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.responses += 1

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Fail: the fast path must answer every request."""
    raise AssertionError("a request fell back to the application")


async def answer_each(bodies: Sequence[bytes | bytearray]) -> list[bytes | Exception]:
    return [b"{}"] * len(bodies)


async def main(options: argparse.Namespace) -> None:
    """Print the processor time of a request, from its bytes to those of its response."""
    config = uvicorn.Config(refuse, http="httptools")
    config.load()
    operation = FastOperation(PATH, answer_each, admits=lambda headers: True, is_available=lambda: True)
    queue = BatchQueue(operation, RequestRecorder(ServiceMetrics()), GracefulShutdown(grace_s=1), timeout_s=10)
    protocol = FastPathProtocol.using({PATH.encode(): queue})
    connections = [(protocol(config, ServerState(), {}), CountingTransport()) for _ in range(options.connections)]
    for connection, transport in connections:
        connection.connection_made(transport)
    turns, sent, best_s = 20, 0, float("inf")
    for _ in range(options.rounds):
        started = time.process_time()
        for _ in range(turns):
            sent += 1
            for connection, _ in connections:
                connection.data_received(REQUEST)
            while any(transport.responses < sent for _, transport in connections):
                await asyncio.sleep(0)
        best_s = min(best_s, (time.process_time() - started) / turns / len(connections))
    print(f"{1e6 * best_s:.2f} us per request at {len(connections)} connections, best of {options.rounds} rounds")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=40)
    uvloop.run(main(parser.parse_args()))
