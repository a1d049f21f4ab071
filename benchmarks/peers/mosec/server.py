"""Mosec: one worker process for the model, preceded by a decoding worker in the image scenarios."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mosec import Server, Worker

from benchmarks.peers.workloads.loader import load_workload, max_batch_size, port

_WAIT_MS = 2


def _request(data: bytes) -> Any:
    return data if os.environ["BENCH_SCENARIO"] == "image" else json.loads(data)


class Preprocess(Worker):
    """A worker that decodes requests in a separate process."""

    def __init__(self) -> None:
        self.workload = load_workload()

    def deserialize(self, data: bytes) -> Any:
        return _request(data)

    def forward(self, data: Any) -> Any:
        return self.workload.preprocess(data)


class Inference(Worker):
    """A worker that runs the model on a batch."""

    def __init__(self) -> None:
        self.workload = load_workload()

    def forward(self, data: list[Any]) -> list[Any]:
        return self.workload.predict(data)


class PreprocessAndInference(Worker):
    """A worker that decodes and runs the model: fewer messages between processes if decoding is cheap."""

    def __init__(self) -> None:
        self.workload = load_workload()

    def deserialize(self, data: bytes) -> Any:
        return _request(data)

    def forward(self, data: list[Any]) -> list[Any]:
        return self.workload.predict([self.workload.preprocess(request) for request in data])


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "--address", "127.0.0.1", "--port", str(port()), "--timeout", "30000"]
    server = Server()
    if os.environ["BENCH_SCENARIO"] == "image":
        server.append_worker(Preprocess, num=1)
        server.append_worker(Inference, num=1, max_batch_size=max_batch_size(), max_wait_time=_WAIT_MS)
    else:
        server.append_worker(PreprocessAndInference, num=1, max_batch_size=max_batch_size(), max_wait_time=_WAIT_MS)
    server.run()
