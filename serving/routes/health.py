"""How the service is, what it measures, and what is here, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from serving.errors.problem_types import INTERNAL, NOT_READY
from serving.http.operation import Content, Operation
from serving.http.problem_details import problem
from serving.http.requests.json_body import JSON, answer
from serving.runners.interface import Runner, RunnerStatus
from serving.schemas.fields import EXAMPLE_VERSION, ModelUsed
from serving.schemas.service import Health, Index, Link, Liveness, Readiness, RunnerReadiness, ServiceInfo

NAME = "makunouchi"
STATUS_TIMEOUT_S = 2.0
_MODEL = {"name": "tabular", "version": EXAMPLE_VERSION}
_RUNNER = {"ready": True, "model": _MODEL, "detail": ""}
_METRICS = 'makunouchi_requests_total{method="POST",route="/v1/tabular/predict",status="200"} 42.0\n'
_TIME = "2026-01-31T12:00:00Z"


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics page: its text and the media type that goes with it. `text` may block: it is called in a thread."""

    text: Callable[[], bytes]
    media_type: str = "text/plain; version=0.0.4; charset=utf-8"


def health_operations(
    runners: Sequence[Runner], metrics: Metrics, *, version: str, is_stopping: Callable[[], bool]
) -> list[Operation]:
    """`livez`, `readyz`, `health` and `metrics`."""
    return [_livez(), _readyz(runners, is_stopping), _health(runners, version), _metrics(metrics)]


def _livez() -> Operation:
    async def livez(request: Request) -> Response:
        return answer(Liveness())

    return Operation(
        id="livez",
        method="GET",
        path="/livez",
        tag="service",
        access="probe",
        summary="Is the process alive?",
        handler=livez,
        answer=Content(JSON, lambda: Liveness, lambda: {"alive": {"status": "alive"}}),
        answer_description="It is.",
    )


def _readyz(runners: Sequence[Runner], is_stopping: Callable[[], bool]) -> Operation:
    async def readyz(request: Request) -> Response:
        found = await readiness(runners)
        missing = [name for name, runner in found.items() if not runner.ready]
        if not missing and not is_stopping():
            return answer(Readiness(runners=found))
        why = f"not ready: {', '.join(missing)}" if missing else "the service is stopping"
        said = {name: runner.model_dump() for name, runner in found.items()}
        return problem(NOT_READY, why, instance=request.scope["path"], runners=said)

    return Operation(
        id="readyz",
        method="GET",
        path="/readyz",
        tag="service",
        access="probe",
        summary="Can every model answer?",
        description="Not before every model has answered its own example, which it is asked anew every ten seconds, "
        "and not while a runner is gone.",
        handler=readyz,
        answer=Content(
            JSON, lambda: Readiness, lambda: {"ready": {"status": "ready", "runners": {"tabular": _RUNNER}}}
        ),
        answer_description="All of them can.",
        problems=(NOT_READY, INTERNAL),
    )


def _health(runners: Sequence[Runner], version: str) -> Operation:
    service = ServiceInfo(name=NAME, version=version)

    async def health(request: Request) -> Response:
        found = await readiness(runners)
        is_ok = all(runner.ready for runner in found.values())
        status = "ok" if is_ok else "degraded"
        return answer(Health(status=status, service=service, runners=found, time=datetime.now(UTC)))

    return Operation(
        id="health",
        method="GET",
        path="/health",
        tag="service",
        access="probe",
        summary="How is the service?",
        description="Answers 200 even when a runner is gone; `/readyz` does not.",
        handler=health,
        answer=Content(JSON, lambda: Health, lambda: {"ok": _health_example(version)}),
        answer_description="Status, models and version.",
    )


def _metrics(metrics: Metrics) -> Operation:
    async def show_metrics(request: Request) -> Response:
        text = await run_sync(metrics.text)
        return Response(text, headers={"Content-Type": metrics.media_type, "Cache-Control": "no-store"})

    return Operation(
        id="metrics",
        method="GET",
        path="/metrics",
        tag="service",
        access="probe",
        summary="Metrics for Prometheus",
        handler=show_metrics,
        answer=Content("text/plain", lambda: {"type": "string"}, lambda: {"metrics": _METRICS}),
        answer_description="Metrics in the Prometheus text format.",
    )


async def readiness(runners: Sequence[Runner]) -> dict[str, RunnerReadiness]:
    """How each runner is, by name. All are asked at once; one that does not answer in time is not ready."""
    statuses = await asyncio.gather(*(_status(runner) for runner in runners))
    return {
        runner.name: RunnerReadiness(
            ready=status.ready,
            model=ModelUsed(name=status.model.name, version=status.model.version) if status.model else None,
            detail=status.detail,
        )
        for runner, status in zip(runners, statuses, strict=True)
    }


async def _status(runner: Runner) -> RunnerStatus:
    try:
        # A runner keeps its own time; this holds where one does not.
        async with asyncio.timeout(2 * STATUS_TIMEOUT_S):
            return await runner.status(timeout_s=STATUS_TIMEOUT_S)
    except TimeoutError:
        return RunnerStatus(ready=False, model=None, detail="no answer in time")


def index_operation(others: Sequence[Operation], *, version: str) -> Operation:
    """`index`: what can be called."""
    service = ServiceInfo(name=NAME, version=version)

    async def index(request: Request) -> Response:
        here = Index(
            service=service,
            method=request.method,
            url=str(request.url),
            time=datetime.now(UTC),
            links=[_link(each) for each in others],
        )
        return answer(here)

    return Operation(
        id="index",
        method="GET",
        path="/v1",
        tag="service",
        access="docs",
        summary="What is here?",
        handler=index,
        answer=Content(JSON, lambda: Index, lambda: {"index": _index(others, version)}),
        answer_description="Every operation and where it is.",
    )


def _link(operation: Operation) -> Link:
    return Link(operation=operation.id, method=operation.method, href=operation.path, summary=operation.summary)


def _health_example(version: str) -> dict[str, Any]:
    service = {"name": NAME, "version": version}
    return {"status": "ok", "service": service, "runners": {"tabular": _RUNNER}, "time": _TIME}


def _index(others: Sequence[Operation], version: str) -> dict[str, Any]:
    links = [_link(each).model_dump() for each in others[:3]]
    service = {"name": NAME, "version": version}
    return {"service": service, "method": "GET", "url": "http://localhost:3000/v1", "time": _TIME, "links": links}
