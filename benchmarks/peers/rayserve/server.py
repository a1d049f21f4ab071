"""Ray Serve: its proxy process, and one replica that batches."""

from __future__ import annotations

import os
import time
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.workloads.chosen import chosen_workload, max_batch, port

_WAIT_S = 0.002


@serve.deployment(num_replicas=1, max_ongoing_requests=512)
class Model:
    """Answers batches of requests."""

    def __init__(self) -> None:
        self.workload = chosen_workload()

    @serve.batch(max_batch_size=max_batch(), batch_wait_timeout_s=_WAIT_S)
    async def answers(self, items: list[Any]) -> list[Any]:
        return self.workload.answers(items)

    async def __call__(self, request: Request) -> Any:
        is_image = os.environ["BENCH_SCENARIO"] == "image"
        return await self.answers(self.workload.item(await request.body() if is_image else await request.json()))


if __name__ == "__main__":
    names = [name for name in os.environ if name.startswith("BENCH_")] + ["PYTHONPATH", "OMP_NUM_THREADS"]
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        logging_level="warning",
        runtime_env={"env_vars": {name: os.environ[name] for name in names if name in os.environ}},
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port()}, logging_config={"enable_access_log": False})
    serve.run(Model.bind(), route_prefix="/predict")  # type: ignore[attr-defined]  # the decorator's
    while True:
        time.sleep(3600)
