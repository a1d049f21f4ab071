"""LitServe: an API process and one worker process with batching."""

from __future__ import annotations

import os
from typing import Any

import litserve

from benchmarks.peers.workloads.loader import load_workload, max_batch_size, port

_WAIT_S = 0.002


class Api(litserve.LitAPI):
    """A LitServe API that runs the model on batches of requests."""

    def setup(self, device: str) -> None:
        self.workload = load_workload()

    # Without annotations: LitServe would use them as the types of the endpoint.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        if os.environ["BENCH_SCENARIO"] == "image":
            return self.workload.preprocess(request["image"].file.read())
        return self.workload.preprocess(request)

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, batch: list[Any]) -> list[Any]:
        return self.workload.predict(batch)

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=max_batch_size(), batch_timeout=_WAIT_S), accelerator="cpu", workers_per_device=1, timeout=30
    )
    server.run(host="127.0.0.1", port=port(), num_api_servers=1, generate_client_file=False, log_level="warning")
