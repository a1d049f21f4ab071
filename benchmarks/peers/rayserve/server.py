"""Ray Serve: a proxy process and one replica with batching."""

from __future__ import annotations

import os
import time
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.workloads.loader import load_workload, max_batch_size, port

_WAIT_S = 0.002


@serve.deployment(num_replicas=1, max_ongoing_requests=512)
class Model:
    """A deployment that runs the model on batches of requests."""

    def __init__(self) -> None:
        self.workload = load_workload()

    @serve.batch(max_batch_size=max_batch_size(), batch_wait_timeout_s=_WAIT_S)
    async def predict(self, inputs: list[Any]) -> list[Any]:
        return self.workload.predict(inputs)

    async def __call__(self, request: Request) -> Any:
        is_image = os.environ["BENCH_SCENARIO"] == "image"
        payload = await request.body() if is_image else await request.json()
        return await self.predict(self.workload.preprocess(payload))


if __name__ == "__main__":
    names = [name for name in os.environ if name.startswith("BENCH_")] + ["PYTHONPATH", "OMP_NUM_THREADS"]
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        logging_level="warning",
        runtime_env={"env_vars": {name: os.environ[name] for name in names if name in os.environ}},
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port()}, logging_config={"enable_access_log": False})
    serve.run(Model.bind(), route_prefix="/predict")  # type: ignore[attr-defined]  # added by the decorator
    while True:
        time.sleep(3600)
