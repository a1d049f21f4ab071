"""Operation for administrators: change the default version of a model."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from serving.errors.problem_types import BODY_FAULTS, DEADLINE, INTERNAL, NOT_KNOWN, RELOAD_REFUSED, UNAVAILABLE
from serving.http.operation import Content, Operation
from serving.http.requests.json_body import JSON, answer, read_json
from serving.http.requests.query import model_parameter
from serving.runners.interface import ModelRef
from serving.schemas.fields import EXAMPLE_VERSION, ModelUsed
from serving.schemas.reload import Reload, ReloadRequest
from serving.versions.reconciler import Reconciler


def operations(reconciler: Reconciler) -> list[Operation]:
    """Return `reload_model`."""
    name = reconciler.example

    async def reload_model(request: Request) -> Response:
        return answer(await _reload(reconciler, request))

    def examples() -> dict[str, dict[str, str]]:
        active = reconciler.report(name).active
        return {"latest": {}, "version": {"version": active.version if active else EXAMPLE_VERSION}}

    return [
        Operation(
            id="reload_model",
            method="POST",
            path="/v1/models/{name}/reload",
            tag="models",
            access="admin",
            summary="Reload a model",
            description=(
                "Loads `version` and makes it the default version; an earlier version is a rollback. Without a body, "
                "or without `version`: the configured one, which is the latest unless a setting names another. The "
                "version is loaded and must answer its example before it replaces the previous one, and no request "
                "fails. A version that cannot be loaded changes nothing. Requires an admin key, in development too."
            ),
            handler=reload_model,
            parameters=lambda: (model_parameter(name),),
            body=Content(JSON, lambda: ReloadRequest, examples),
            is_body_optional=True,
            answer=Content(JSON, lambda: Reload, lambda: {"reloaded": _example(name)}),
            answer_description="The default version now, and the previous one.",
            problems=(*BODY_FAULTS, NOT_KNOWN, RELOAD_REFUSED, INTERNAL, UNAVAILABLE, DEADLINE),
        )
    ]


async def _reload(reconciler: Reconciler, request: Request) -> Reload:
    body = ReloadRequest()
    if await request.body():
        body = ReloadRequest.model_validate_json(await read_json(request))
    result = await reconciler.reload(request.path_params["name"], body.version)
    return Reload(model=_used(result.model), previous=_used(result.previous), duration_ms=result.duration_ms)


def _example(name: str) -> dict[str, object]:
    return {
        "model": {"name": name, "version": EXAMPLE_VERSION},
        "previous": {"name": name, "version": EXAMPLE_VERSION},
        "duration_ms": 812.0,
    }


def _used(model: ModelRef | None) -> ModelUsed | None:
    return None if model is None else ModelUsed(name=model.name, version=model.version)
