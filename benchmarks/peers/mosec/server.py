"""Mosec: one worker process for the model, and one before it that decodes where images come in."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mosec import Server, Worker

from benchmarks.peers.workloads.chosen import chosen_workload, max_batch, port

_WAIT_MS = 2


def _request(data: bytes) -> Any:
    return data if os.environ["BENCH_SCENARIO"] == "image" else json.loads(data)


class Preprocess(Worker):
    """Decodes a request, in a process of its own."""

    def __init__(self) -> None:
        self.workload = chosen_workload()

    def deserialize(self, data: bytes) -> Any:
        return _request(data)

    def forward(self, data: Any) -> Any:
        return self.workload.item(data)


class Inference(Worker):
    """Answers a batch."""

    def __init__(self) -> None:
        self.workload = chosen_workload()

    def forward(self, data: list[Any]) -> list[Any]:
        return self.workload.answers(data)


class Whole(Worker):
    """Decodes and answers a batch in one process: less work between processes where decoding is cheap."""

    def __init__(self) -> None:
        self.workload = chosen_workload()

    def deserialize(self, data: bytes) -> Any:
        return _request(data)

    def forward(self, data: list[Any]) -> list[Any]:
        return self.workload.answers([self.workload.item(request) for request in data])


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "--address", "127.0.0.1", "--port", str(port()), "--timeout", "30000"]
    server = Server()
    if os.environ["BENCH_SCENARIO"] == "image":
        server.append_worker(Preprocess, num=1)
        server.append_worker(Inference, num=1, max_batch_size=max_batch(), max_wait_time=_WAIT_MS)
    else:
        server.append_worker(Whole, num=1, max_batch_size=max_batch(), max_wait_time=_WAIT_MS)
    server.run()
