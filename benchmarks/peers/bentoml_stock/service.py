"""BentoML with default settings: `Gateway` depends on `Runner`, whose method is batchable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml

from benchmarks.peers.workloads.loader import load_workload, max_batch_size

IS_IMAGE = os.environ["BENCH_SCENARIO"] == "image"


@bentoml.service(workers=1)
class Runner:
    """The service that runs the model."""

    def __init__(self) -> None:
        self.workload = load_workload()

    @bentoml.api(batchable=True, max_batch_size=max_batch_size(), max_latency_ms=10_000)
    def predict(self, requests: list[Any]) -> list[Any]:
        return self.workload.predict([self.workload.preprocess(request) for request in requests])


@bentoml.service(workers=1)
class Gateway:
    """The service that handles HTTP requests."""

    runner = bentoml.depends(Runner)

    if IS_IMAGE:

        @bentoml.api
        async def predict(self, image: Path) -> Any:
            return (await self.runner.to_async.predict([image.read_bytes()]))[0]

    elif os.environ["BENCH_SCENARIO"] == "overhead":

        @bentoml.api
        async def predict(self, values: list[float]) -> Any:
            return (await self.runner.to_async.predict([{"values": values}]))[0]

    elif os.environ["BENCH_SCENARIO"] == "tabular":

        @bentoml.api
        async def predict(self, instances: list[dict[str, Any]]) -> Any:
            return (await self.runner.to_async.predict([{"instances": instances}]))[0]

    else:

        @bentoml.api
        async def predict(self, user_id: str, n: int = 10) -> Any:
            return (await self.runner.to_async.predict([{"user_id": user_id, "n": n}]))[0]
