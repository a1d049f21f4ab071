"""Operations for liveness, readiness, health, metrics, and the index of operations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from models.watch import failing
from serving.concurrency import SharedResult
from serving.context import public_path
from serving.errors.problem_types import INTERNAL, NOT_READY
from serving.http.operation import Content, Operation
from serving.http.problem_details import problem
from serving.http.representation import Representation
from serving.http.requests.json_body import JSON, answer
from serving.process.python_version import python_warnings
from serving.routes.pages import server_url
from serving.runners.interface import Runner, RunnerStatus
from serving.schemas.fields import EXAMPLE_MODEL, EXAMPLE_VERSION, ModelUsed
from serving.schemas.service import (
    Health,
    Index,
    Link,
    Liveness,
    Readiness,
    ReplicasReady,
    RunnerReadiness,
    ServiceInfo,
)
from serving.versions.model_changes import ModelChanges

NAME = "makunouchi"
Check = Callable[[], Awaitable[None]]
States = Callable[[], Awaitable[dict[str, RunnerReadiness]]]
STATUS_TIMEOUT_S = 2.0
# How long the text of the metrics is kept: rendering it takes 20 ms of processor time and more.
METRICS_KEEP_S = 0.5
_MODEL = {"name": EXAMPLE_MODEL, "version": EXAMPLE_VERSION}
_RUNNER = {"ready": True, "model": _MODEL, "detail": "", "required": True, "replicas": None}
_METRICS = 'makunouchi_requests_total{method="POST",route="/v1/jobs",status="200"} 42.0\n'
_TIME = "2026-01-31T12:00:00Z"


@dataclass(frozen=True, slots=True)
class Metrics:
    """The text and the media type of the metrics. `text` may block; it is called in a thread."""

    text: Callable[[], bytes]
    media_type: str = "text/plain; version=0.0.4; charset=utf-8"


def health_operations(
    runners: Callable[[], Sequence[Runner]],
    metrics: Metrics,
    *,
    version: str,
    is_stopping: Callable[[], bool],
    checks: Sequence[Check] = (),
    changes: ModelChanges | None = None,
) -> list[Operation]:
    """Return the operations `livez`, `readyz`, `health` and `metrics`.

    `changes` names the models that could not be loaded, and those that are not required. `checks` notice faults of what
    the service uses, and report them as `models.watch` does.
    """

    async def states() -> dict[str, RunnerReadiness]:
        return await readiness(runners(), changes)

    def faults() -> dict[str, str]:
        return {name: detail for runner in runners() for name, detail in runner.last_status.faults.items()}

    return [_livez(), _readyz(states, is_stopping), _health(states, faults, version, checks), _metrics(metrics)]


def _livez() -> Operation:
    async def livez(request: Request) -> Response:
        return answer(Liveness())

    return Operation(
        id="livez",
        method="GET",
        path="/livez",
        tag="service",
        access="probe",
        summary="Check liveness",
        handler=livez,
        answer=Content(JSON, lambda: Liveness, lambda: {"alive": {"status": "alive"}}),
        answer_description="The process is alive.",
    )


def _readyz(states_now: States, is_stopping: Callable[[], bool]) -> Operation:
    async def readyz(request: Request) -> Response:
        states = await states_now()
        missing = [name for name, state in states.items() if state.required and not state.ready]
        if not missing and not is_stopping():
            return answer(Readiness(runners=states))
        detail = f"not ready: {', '.join(missing)}" if missing else "the service is stopping"
        documents = {name: state.model_dump() for name, state in states.items()}
        return problem(NOT_READY, detail, instance=request.scope["path"], runners=documents)

    return Operation(
        id="readyz",
        method="GET",
        path="/readyz",
        tag="service",
        access="probe",
        summary="Check readiness",
        description="Ready when every required model has answered its warm-up prediction, which is repeated every ten "
        "seconds. Not ready while the runner of one is not available. `/v2/models/{name}/ready` is that of one model.",
        handler=readyz,
        answer=Content(
            JSON, lambda: Readiness, lambda: {"ready": {"status": "ready", "runners": {EXAMPLE_MODEL: _RUNNER}}}
        ),
        answer_description="All required models are ready.",
        problems=(NOT_READY, INTERNAL),
    )


def _health(
    states_now: States, faults_now: Callable[[], dict[str, str]], version: str, checks: Sequence[Check]
) -> Operation:
    service = ServiceInfo(name=NAME, version=version)
    warnings = python_warnings()

    async def health(request: Request) -> Response:
        states, _ = await asyncio.gather(states_now(), asyncio.gather(*(check() for check in checks)))
        faults = faults_now() | failing()
        status = "ok" if not faults and all(state.ready for state in states.values()) else "degraded"
        time = datetime.now(UTC)
        document = Health(status=status, service=service, runners=states, faults=faults, warnings=warnings, time=time)
        return answer(document)

    return Operation(
        id="health",
        method="GET",
        path="/health",
        tag="service",
        access="probe",
        summary="Get the health of the service",
        description="Answers 200 even if a runner is not available or a file cannot be read, unlike `/readyz`.",
        handler=health,
        answer=Content(JSON, lambda: Health, lambda: {"ok": _health_example(version)}),
        answer_description="Status, models and version.",
    )


def _metrics(metrics: Metrics) -> Operation:
    page = SharedResult(lambda: Representation.of(metrics.text(), metrics.media_type), keep_s=METRICS_KEEP_S)

    async def show_metrics(request: Request) -> Response:
        return (await page.get()).response(request, {"Cache-Control": "no-store"})

    return Operation(
        id="metrics",
        method="GET",
        path="/metrics",
        tag="service",
        access="probe",
        summary="Get metrics for Prometheus",
        description="At most two seconds old.",
        handler=show_metrics,
        answer=Content("text/plain", lambda: {"type": "string"}, lambda: {"metrics": _METRICS}),
        answer_description="Metrics in the Prometheus text format.",
    )


async def readiness(runners: Sequence[Runner], changes: ModelChanges | None = None) -> dict[str, RunnerReadiness]:
    """Return the state of each model by the name of its handle. A runner that does not answer in time is not ready."""
    statuses = await asyncio.gather(*(_status(runner) for runner in runners))
    entries = {} if changes is None else {each.handle_name: each for each in changes.entries()}
    states = {
        runner.name: RunnerReadiness(
            ready=status.ready,
            model=ModelUsed(name=status.model.name, version=status.model.version) if status.model else None,
            detail=status.detail,
            required=runner.name not in entries or entries[runner.name].entry.required,
            replicas=ReplicasReady(**asdict(status.replicas)) if status.replicas else None,
        )
        for runner, status in zip(runners, statuses, strict=True)
    }
    failed = {name: each for name, each in entries.items() if each.status == "failed" and name not in states}
    return states | {
        name: RunnerReadiness(ready=False, model=None, detail=each.reason, required=each.entry.required)
        for name, each in failed.items()
    }


async def _status(runner: Runner) -> RunnerStatus:
    try:
        # In addition to the runner's own time limit.
        async with asyncio.timeout(2 * STATUS_TIMEOUT_S):
            return await runner.status(timeout_s=STATUS_TIMEOUT_S)
    except TimeoutError:
        return RunnerStatus(ready=False, model=None, detail="no answer within the time limit")


def index_operation(others: Sequence[Operation], *, version: str) -> Operation:
    """Return the operation `index`, which lists all operations."""
    service = ServiceInfo(name=NAME, version=version)

    async def index(request: Request) -> Response:
        body = Index(
            service=service,
            method=request.method,
            url=_url_of(request),
            time=datetime.now(UTC),
            links=[_link(each) for each in others],
        )
        return answer(body)

    return Operation(
        id="index",
        method="GET",
        path="/v1",
        tag="service",
        access="docs",
        summary="List all operations",
        handler=index,
        answer=Content(JSON, lambda: Index, lambda: {"index": _index(others, version)}),
        answer_description="All operations and their paths.",
    )


def _url_of(request: Request) -> str:
    query = request.url.query
    return server_url(request).rstrip("/") + request.url.path + (f"?{query}" if query else "")


def _link(operation: Operation) -> Link:
    return Link(
        operation=operation.id, method=operation.method, href=public_path(operation.path), summary=operation.summary
    )


def _health_example(version: str) -> dict[str, Any]:
    service = {"name": NAME, "version": version}
    runners = {EXAMPLE_MODEL: _RUNNER}
    return {"status": "ok", "service": service, "runners": runners, "faults": {}, "warnings": [], "time": _TIME}


def _index(others: Sequence[Operation], version: str) -> dict[str, Any]:
    links = [_link(each).model_dump() for each in others[:3]]
    service = {"name": NAME, "version": version}
    return {"service": service, "method": "GET", "url": "http://localhost:3000/v1", "time": _TIME, "links": links}
