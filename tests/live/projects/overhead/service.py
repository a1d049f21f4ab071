"""A service that sums thirty floats, to test the engine. Some first numbers make the model fail or wait."""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from threadpoolctl import threadpool_info

from models.errors import PlatformError
from serving.bento.config import service_config
from serving.bento.gateway import GatewayService
from serving.bento.runner import RunnerService
from serving.context import current_context
from serving.http.priority import set_priority_of
from serving.http.problem_details import problem_of
from serving.kinds.registry import ServiceSettings
from serving.observability.metrics import metrics_content
from serving.runners.batching import BatchLimits
from serving.runners.host.loaded_versions import LoadedVersions
from serving.runners.placement import Placed, connect, place
from serving.server.fast_path.batch_queue import MAX_WAITING, FastOperation, Headers

RAISE, WRONG_SHAPE, NAN, SLEEP, LARGEST, HOLD, SPIN, SLEEPS = -1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0
DEADLOCK, LEAK = -9.0, -10.0
# Held requests and predictions end when this file exists.
GATE = Path(os.environ.get("OVERHEAD_GATE", "/nonexistent"))
# Calls that sleep append a byte when they start: the number of such calls so far, of all processes.
SLEEPS_FILE = Path(os.environ["OVERHEAD_SLEEPS"]) if "OVERHEAD_SLEEPS" in os.environ else None
SETTINGS = ServiceSettings(
    request_timeout_s=float(os.environ.get("OVERHEAD_TIMEOUT_S", "10")),
    body_timeout_s=float(os.environ.get("OVERHEAD_BODY_TIMEOUT_S", "5")),
    shutdown_grace_s=float(os.environ.get("OVERHEAD_GRACE_S", "10")),
    start_timeout_s=float(os.environ.get("OVERHEAD_START_S", "600")),
    runner_max_memory_bytes=int(os.environ.get("OVERHEAD_MEMORY_BYTES", "0")),
    runner_threads=int(os.environ.get("OVERHEAD_THREADS", "0")),
    runner_cpus=tuple(orjson.loads(os.environ.get("OVERHEAD_CPUS", "[]"))),
    access_log=os.environ.get("OVERHEAD_ACCESS_LOG", "1") == "1",
    cors_origins=("https://shop.example",),
)
PLACEMENT = os.environ.get("OVERHEAD_PLACEMENT", "process")


class SumArtifact:
    name = "sum"

    def __init__(self, version: str) -> None:
        self.version = version


class Sum:
    """A predictor: float32 (N, 30) -> (N, 1)."""

    def __init__(self, version: str) -> None:
        self.artifact = SumArtifact(version)
        self.largest_batch = 0
        self.leaked: list[bytearray] = []

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        commands = rows[:, 0]
        self.largest_batch = max(self.largest_batch, len(rows))
        values: NDArray[np.float32] = rows.sum(axis=1, keepdims=True, dtype=np.float32)
        if commands.min() >= 0:
            return values
        if (commands == RAISE).any():
            raise ValueError("the secret of row 17 at /var/lib/secret")
        if (commands == SLEEP).any():
            count_sleep()
            time.sleep(float(rows[commands == SLEEP][0, 1]))
        while (commands == SPIN).any():
            pass
        if (commands == DEADLOCK).any():
            # PyDLL keeps the interpreter's lock: no other thread runs.
            ctypes.PyDLL(None).sleep(3600)
        if (commands == LEAK).any():
            # After the answer: a call that is lost with its process is sent again, and would leak again.
            threading.Timer(0.5, self._leak, [int(rows[commands == LEAK][0, 1])]).start()
        while (commands == HOLD).any() and not GATE.exists():
            time.sleep(0.01)
        values[commands == LARGEST] = self.largest_batch
        values[commands == SLEEPS] = sleeps()
        if (commands == NAN).any():
            values[commands == NAN] = np.nan
        return values[:-1] if (commands == WRONG_SHAPE).any() else values

    def _leak(self, mebibytes: int) -> None:
        self.leaked.append(bytearray(os.urandom(1)) * (mebibytes << 20))

    def example(self) -> NDArray[np.float32]:
        return np.ones((1, 30), np.float32)


def count_sleep() -> None:
    if SLEEPS_FILE is not None:
        with SLEEPS_FILE.open("ab") as stream:
            stream.write(b"x")


def sleeps() -> int:
    return SLEEPS_FILE.stat().st_size if SLEEPS_FILE is not None and SLEEPS_FILE.exists() else 0


def load(version: str | None) -> Sum:
    version = version or os.environ.get("OVERHEAD_VERSION")
    if version == "broken":
        raise ValueError("cannot be loaded: /var/lib/secret")
    time.sleep(float(os.environ.get("OVERHEAD_LOAD_S", "0")))
    return Sum(version or "v1")


def sum_runner(name: str) -> Any:
    """Return the service of one process that sums."""

    class Sums:
        def __init__(self) -> None:
            self.model = LoadedVersions(load, warm_up=lambda model: model.predict(model.example()))

        @bentoml.api(batchable=True, max_batch_size=1000, max_latency_ms=60_000)
        def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
            with self.model.lease() as model:
                return model.predict(rows)

    options = {"service_class": RunnerService.using(SETTINGS), **service_config(SETTINGS)}
    return bentoml.service(name=name, **options)(Sums)


SumRunner = sum_runner("SumRunner")
REPLICAS = [sum_runner(f"SumRunner_{number}") for number in range(2, 1 + int(os.environ.get("OVERHEAD_REPLICAS", "1")))]
globals().update({each.name: each for each in REPLICAS})


@bentoml.service(name="EchoRunner", service_class=RunnerService.using(SETTINGS), **service_config(SETTINGS))
class EchoRunner:
    @bentoml.api(batchable=True, max_batch_size=1000, max_latency_ms=60_000)
    def ask(self, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"heard": self.bounds() if "bounds" in query else query} for query in queries]

    def example(self) -> list[dict[str, Any]]:
        return [{"hello": 1}]

    def bounds(self) -> dict[str, Any]:
        blas = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
        threads = os.listdir("/proc/self/task")
        return {"blas": blas, "cpus": sorted({cpu for each in threads for cpu in os.sched_getaffinity(int(each))})}


at = PLACEMENT.split(",") if "://" in PLACEMENT else [PLACEMENT] * 2
sums: Placed[Any] = place(SumRunner, at[0], replicas=REPLICAS)
echoes: Placed[Any] = place(EchoRunner, at[1])
LIMITS = BatchLimits(
    max_queue_rows=int(os.environ.get("OVERHEAD_QUEUE_ROWS", "4096")),
    max_batch_rows=int(os.environ.get("OVERHEAD_BATCH_ROWS", "256")),
    calls_in_flight=(1 + len(REPLICAS)) * int(os.environ.get("OVERHEAD_CALLS_IN_FLIGHT", "1")),
)
sum_rows = connect(sums, LIMITS, name="sum")
echo_queries = connect(echoes, LIMITS, name="echo", method="ask")


async def sum_one(request: Request) -> Response:
    set_priority_of(request.scope)
    sleeps_before = sleeps()
    rows = np.array(orjson.loads(await request.body()), dtype=np.float32)
    answer = await sum_rows.predict(np.atleast_2d(rows), deadline=current_context().deadline)
    payload = {"sums": answer.values[:, 0].tolist(), "version": answer.model.version}
    if rows.flat[0] == SLEEPS:
        payload["sleeps_before"] = sleeps_before
    return Response(orjson.dumps(payload), media_type="application/json")


async def sum_each(bodies: Sequence[bytes | bytearray]) -> list[bytes | Exception]:
    each = [np.atleast_2d(np.array(orjson.loads(body), np.float32)) for body in bodies]
    answer = await sum_rows.predict(np.concatenate(each), deadline=current_context().deadline)
    sums = iter(answer.values[:, 0].tolist())
    version = answer.model.version
    return [orjson.dumps({"sums": [next(sums) for _ in rows], "version": version}) for rows in each]


def _admits(headers: Headers) -> bool:
    return True


def _is_ready() -> bool:
    return sum_rows.last_status.ready


async def echo(request: Request) -> Response:
    queries = orjson.loads(await request.body())
    return JSONResponse((await echo_queries.predict(queries, deadline=current_context().deadline)).values)


async def reload(request: Request) -> Response:
    return JSONResponse({"version": (await sum_rows.reload(request.path_params["version"])).version})


async def bounds(_: Request) -> Response:
    (row,) = (await echo_queries.predict([{"bounds": True}], deadline=current_context().deadline)).values
    return JSONResponse(row["heard"])


async def livez(_: Request) -> Response:
    return JSONResponse({})


async def readyz(_: Request) -> Response:
    state = service.readiness()
    runners = {name: [status.ready, status.detail] for name, status in state.runners.items()}
    if (replicas := sum_rows.last_status.replicas) is not None:
        runners["replicas of sum"] = [replicas.up, replicas.number]
    return JSONResponse({"runners": runners, "stopping": state.is_stopping}, 200 if state.is_ready else 503)


async def metrics(_: Request) -> Response:
    content, media_type = await run_in_threadpool(metrics_content)
    return Response(content, media_type=media_type)


async def inside(_: Request) -> Response:
    taken = service.draining.in_flight - 1
    return JSONResponse({"tasks": len(asyncio.all_tasks()), "queued": sum_rows.queued_rows, "taken": taken})


async def slow(request: Request) -> Response:
    await asyncio.sleep(float(request.path_params["seconds"]))
    return await one_sum()


async def held(_: Request) -> Response:
    while not GATE.exists():
        await asyncio.sleep(0.01)
    return await one_sum()


async def one_sum() -> Response:
    answer = await sum_rows.predict(np.ones((1, 30), np.float32), deadline=current_context().deadline)
    return JSONResponse({"sum": float(answer.values[0, 0])})


async def spin(_: Request) -> Response:
    while True:
        pass


async def large(_: Request) -> Response:
    return Response(bytes(64 << 20))


async def fail(_: Request) -> Response:
    raise RuntimeError("the secret of /var/lib/secret")


async def on_error(request: Request, error: Exception) -> Response:
    return problem_of(error, instance=request.url.path)


app = Starlette(
    routes=[
        Route("/sum", sum_one, methods=["POST"]),
        Route("/echo", echo, methods=["POST"]),
        Route("/reload/{version}", reload, methods=["POST"]),
        Route("/slow/{seconds}", slow),
        Route("/held", held),
        Route("/fail", fail),
        Route("/large", large),
        Route("/spin", spin),
        Route("/bounds", bounds),
        Route("/livez", livez),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Route("/inside", inside),
    ],
    exception_handlers={PlatformError: on_error, Exception: on_error},
)


@bentoml.service(name="Gateway", service_class=GatewayService.using(SETTINGS), **service_config(SETTINGS))
@bentoml.asgi_app(app, path="/")
class Gateway:
    sums = sums
    echoes = echoes
    locals().update({f"sums_{number}": each for number, each in enumerate(sums.replicas)})

    @bentoml.api
    async def native_sum(self, row: list[float]) -> float:
        answer = await sum_rows.predict(np.array([row], np.float32), deadline=current_context().deadline)
        return float(answer.values[0, 0])


service: Any = Gateway  # Any: the decorator gives a service, which BentoML types as the class
if os.environ.get("OVERHEAD_FAST_PATH", "1") == "1":
    waiting = min(MAX_WAITING, LIMITS.max_queue_rows)
    service.fast_operations = lambda: [FastOperation("/sum", sum_each, _admits, _is_ready, waiting)]
