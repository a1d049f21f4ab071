"""Changing the version that answers, over HTTP: for administrators."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from serving.errors.problem_types import BODY_FAULTS, DEADLINE, INTERNAL, NOT_KNOWN, RELOAD_REFUSED, UNAVAILABLE
from serving.http.operation import Content, Operation
from serving.http.requests.json_body import JSON, answer, read_json
from serving.http.requests.query import model_parameter
from serving.runners.interface import ModelRef
from serving.schemas.fields import EXAMPLE_VERSION, NEWER_VERSION, ModelUsed
from serving.schemas.reload import Reload, ReloadRequest
from serving.versions.reloader import Reloader


def operations(reloads: Reloader) -> list[Operation]:
    """`reload_model`."""

    async def reload_model(request: Request) -> Response:
        asked = ReloadRequest()
        if int(request.headers.get("content-length") or 0) or "transfer-encoding" in request.headers:
            asked = ReloadRequest.model_validate_json(await read_json(request))
        done = await reloads.reload(request.path_params["name"], asked.version)
        return answer(Reload(model=_used(done.model), previous=_used(done.previous), duration_ms=done.duration_ms))

    name = reloads.names[0]
    example = {
        "model": {"name": name, "version": NEWER_VERSION},
        "previous": {"name": name, "version": EXAMPLE_VERSION},
        "duration_ms": 812.0,
    }
    return [
        Operation(
            id="reload_model",
            method="POST",
            path="/v1/models/{name}/reload",
            tag="models",
            access="admin",
            summary="Serve another version",
            description=(
                "Without a body, or without a `version`: the configured one, which is the latest unless a setting says "
                "otherwise. With one: that, which is also how to go back. It is loaded and warmed up beside the one "
                "that serves, and swapped in; no request is dropped. One that cannot be loaded or warmed up leaves the "
                "old one serving. Needs an admin key, in development too."
            ),
            handler=reload_model,
            parameters=lambda: (model_parameter(name),),
            body=Content(
                JSON,
                lambda: ReloadRequest,
                lambda: {"latest": {}, "version": {"version": reloads.version(name) or NEWER_VERSION}},
            ),
            is_body_optional=True,
            answer=Content(JSON, lambda: Reload, lambda: {"reloaded": example}),
            answer_description="The version that answers now, and the one that did.",
            problems=(*BODY_FAULTS, NOT_KNOWN, RELOAD_REFUSED, INTERNAL, UNAVAILABLE, DEADLINE),
        )
    ]


def _used(model: ModelRef | None) -> ModelUsed | None:
    return None if model is None else ModelUsed(name=model.name, version=model.version)
