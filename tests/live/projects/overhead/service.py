"""Thirty floats in, their sum out: nothing but the engine. The sum misbehaves when its first number says so."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import bentoml
import numpy as np
import orjson
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from serving.batching import BatchLimits
from serving.engine import EngineSettings, service_config
from serving.gateway_service import GatewayService
from serving.placement import connect_queries, connect_rows, place
from serving.problems import problem_of
from serving.runner_service import RunnerService
from serving.slot import Slot
from serving.telemetry import metrics_content

RAISE, WRONG_SHAPE, NAN, SLEEP = -1.0, -2.0, -3.0, -4.0
ENGINE = EngineSettings(
    request_timeout_s=float(os.environ.get("OVERHEAD_TIMEOUT_S", "10")),
    shutdown_grace_s=float(os.environ.get("OVERHEAD_GRACE_S", "10")),
    access_log=os.environ.get("OVERHEAD_ACCESS_LOG", "1") == "1",
)
PLACEMENT = os.environ.get("OVERHEAD_PLACEMENT", "process")


class Named:
    name = "sum"

    def __init__(self, version: str) -> None:
        self.version = version


class Sum:
    """A predictor: float32 (N, 30) -> (N, 1)."""

    def __init__(self, version: str) -> None:
        self.artifact = Named(version)

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        told = rows[:, 0]
        if (told == RAISE).any():
            raise ValueError("the secret of row 17 at /var/lib/secret")
        if (told == SLEEP).any():
            time.sleep(float(rows[told == SLEEP][0, 1]))
        values = rows.sum(axis=1, keepdims=True, dtype=np.float32)
        if (told == NAN).any():
            values[told == NAN] = np.nan
        return values[:-1] if (told == WRONG_SHAPE).any() else values

    def example(self) -> NDArray[np.float32]:
        return np.ones((1, 30), np.float32)


def load(version: str | None) -> Sum:
    if version == "broken":
        raise ValueError("cannot be loaded: /var/lib/secret")
    return Sum(version or "v1")


@bentoml.service(name="SumRunner", service_class=RunnerService.using(ENGINE), **service_config(ENGINE))
class SumRunner:
    def __init__(self) -> None:
        self.model = Slot(load, warm_up=lambda model: model.predict(model.example()))

    @bentoml.api(batchable=True, max_batch_size=1000, max_latency_ms=60_000)
    def predict(self, rows: Annotated[NDArray[np.float32], Any]) -> NDArray[np.float32]:
        with self.model.lease() as model:
            return model.predict(rows)


@bentoml.service(name="EchoRunner", service_class=RunnerService.using(ENGINE), **service_config(ENGINE))
class EchoRunner:
    @bentoml.api(batchable=True, max_batch_size=1000, max_latency_ms=60_000)
    def ask(self, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"heard": query} for query in queries]

    def example(self) -> list[dict[str, Any]]:
        return [{"hello": 1}]


sums = place(SumRunner, PLACEMENT if "://" not in PLACEMENT else PLACEMENT.split(",")[0])
echoes = place(EchoRunner, PLACEMENT if "://" not in PLACEMENT else PLACEMENT.split(",")[1])
sum_rows = connect_rows(sums, BatchLimits(), name="sum")
echo_queries = connect_queries(echoes, BatchLimits(), name="echo")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(Exception)
async def on_error(request: Request, error: Exception) -> Response:
    return problem_of(error, instance=request.url.path)


for kind in (bentoml.exceptions.BentoMLException,):
    app.add_exception_handler(kind, on_error)
from models.errors import PlatformError  # noqa: E402

app.add_exception_handler(PlatformError, on_error)


@app.post("/sum")
async def total(request: Request) -> Response:
    rows = np.array(orjson.loads(await request.body()), dtype=np.float32)
    answer = await sum_rows.predict(np.atleast_2d(rows), deadline=_deadline())
    return Response(
        orjson.dumps({"sums": answer.values[:, 0].tolist(), "version": answer.model.version}),
        media_type="application/json",
    )


@app.post("/echo")
async def echo(request: Request) -> Response:
    answer = await echo_queries.ask(orjson.loads(await request.body()), deadline=_deadline())
    return JSONResponse(answer.values)


@app.post("/reload/{version}")
async def reload(version: str) -> Response:
    model = await sum_rows.reload(version)
    return JSONResponse({"version": model.version})


@app.get("/livez")
async def livez() -> Response:
    return JSONResponse({})


@app.get("/readyz")
async def readyz() -> Response:
    state = Gateway.readiness()
    runners = {name: status.detail for name, status in state.runners.items() if not status.ready}
    return JSONResponse({"runners": runners, "stopping": state.is_stopping}, 200 if state.is_ready else 503)


@app.get("/metrics")
async def metrics() -> Response:
    content, media_type = await run_in_threadpool(metrics_content)
    return Response(content, media_type=media_type)


@app.get("/tasks")
async def tasks() -> Response:
    return JSONResponse({"tasks": len(asyncio.all_tasks()), "pid": os.getpid()})


def _deadline() -> float:
    from serving.caller import current_caller

    return current_caller().deadline


@bentoml.service(name="Gateway", service_class=GatewayService.using(ENGINE), **service_config(ENGINE))
class Gateway:
    sums = sums
    echoes = echoes

    @bentoml.api
    async def native_sum(self, row: list[float]) -> float:
        answer = await sum_rows.predict(np.array([row], np.float32), deadline=_deadline())
        return float(answer.values[0, 0])


Gateway.mount_asgi_app(app)
