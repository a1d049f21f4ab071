"""BentoML's own composition: `Gateway` depends on `Runner`, whose method is batchable. Nothing is overridden."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml

from benchmarks.peers.workloads.chosen import chosen_workload, max_batch

IS_IMAGE = os.environ["BENCH_SCENARIO"] == "image"


@bentoml.service(workers=1)
class Runner:
    """Holds the model."""

    def __init__(self) -> None:
        self.workload = chosen_workload()

    @bentoml.api(batchable=True, max_batch_size=max_batch(), max_latency_ms=10_000)
    def answers(self, requests: list[Any]) -> list[Any]:
        return self.workload.answers([self.workload.item(request) for request in requests])


@bentoml.service(workers=1)
class Gateway:
    """Speaks HTTP."""

    runner = bentoml.depends(Runner)

    if IS_IMAGE:

        @bentoml.api
        async def predict(self, image: Path) -> Any:
            return (await self.runner.to_async.answers([image.read_bytes()]))[0]

    elif os.environ["BENCH_SCENARIO"] == "overhead":

        @bentoml.api
        async def predict(self, values: list[float]) -> Any:
            return (await self.runner.to_async.answers([{"values": values}]))[0]

    elif os.environ["BENCH_SCENARIO"] == "tabular":

        @bentoml.api
        async def predict(self, instances: list[dict[str, Any]]) -> Any:
            return (await self.runner.to_async.answers([{"instances": instances}]))[0]

    else:

        @bentoml.api
        async def predict(self, user_id: str, n: int = 10) -> Any:
            return (await self.runner.to_async.answers([{"user_id": user_id, "n": n}]))[0]
