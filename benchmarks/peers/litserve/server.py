"""LitServe: an API process and one worker process that batches."""

from __future__ import annotations

import os
from typing import Any

import litserve

from benchmarks.peers.workloads.chosen import chosen_workload, max_batch, port

_WAIT_S = 0.002


class Api(litserve.LitAPI):
    """Answers batches of requests."""

    def setup(self, device: str) -> None:
        self.workload = chosen_workload()

    # No annotations: LitServe makes the endpoint's types of them.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        if os.environ["BENCH_SCENARIO"] == "image":
            return self.workload.item(request["image"].file.read())
        return self.workload.item(request)

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, batch: list[Any]) -> list[Any]:
        return self.workload.answers(batch)

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=max_batch(), batch_timeout=_WAIT_S), accelerator="cpu", workers_per_device=1, timeout=30
    )
    server.run(host="127.0.0.1", port=port(), num_api_servers=1, generate_client_file=False, log_level="warning")
