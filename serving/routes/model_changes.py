"""Operations for administrators: add, change and remove models while the service runs."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from models.store.sources.source import label_of
from serving.errors.problem_types import (
    BODY_FAULTS,
    DEADLINE,
    INTERNAL,
    MODEL_REFUSED,
    NOT_KNOWN,
    UNAVAILABLE,
    VALIDATION,
)
from serving.http.operation import Content, Operation
from serving.http.requests.json_body import JSON, answer, read_json
from serving.http.requests.query import model_parameter
from serving.schemas.fields import EXAMPLE_MODEL, EXAMPLE_VERSION
from serving.schemas.model_changes import ModelRequest, ServedModelState
from serving.settings.model_list import ModelEntry, check_name
from serving.versions.model_changes import ModelChanges, ServedEntry

PATH = "/v1/models/{name}"


def operations(changes: ModelChanges) -> list[Operation]:
    """Return `put_model` and `delete_model`."""
    return [_put(changes), _delete(changes)]


def _put(changes: ModelChanges) -> Operation:
    async def put_model(request: Request) -> Response:
        name = check_name(request.path_params["name"])
        body = ModelRequest.model_validate_json(await read_json(request))
        served, is_new = await changes.put(ModelEntry(name=name, **dict(body)))
        response = answer(state_of(served))
        response.status_code = 201 if is_new else 200
        return response

    return Operation(
        id="put_model",
        method="PUT",
        path=PATH,
        tag="models",
        access="admin",
        summary="Add or change a model",
        description=(
            "Loads the artifact in a runner. It must answer its example; then every gateway serves it within a second, "
            "at `/v1/models/{name}/predict` and in every other way, and this document describes it. A model that "
            "cannot be loaded changes nothing. The change survives restarts, until the model list has another entry "
            "for this name. Requires an admin key, in development too."
        ),
        handler=put_model,
        parameters=lambda: (_name_parameter(changes),),
        body=Content(JSON, lambda: ModelRequest, lambda: {"artifact": {"artifact": _example(changes)}}),
        answer=Content(JSON, lambda: ServedModelState, lambda: {"changed": _state_example(changes)}),
        answer_description="The model, which was there before.",
        more_answer_statuses={201: "The model, which is new."},
        problems=(*BODY_FAULTS, NOT_KNOWN, MODEL_REFUSED, INTERNAL, UNAVAILABLE, DEADLINE),
    )


def _delete(changes: ModelChanges) -> Operation:
    async def delete_model(request: Request) -> Response:
        await changes.remove(str(request.path_params["name"]))
        return Response(status_code=204, headers={"Cache-Control": "no-store"})

    return Operation(
        id="delete_model",
        method="DELETE",
        path=PATH,
        tag="models",
        access="admin",
        summary="Remove a model from the service",
        description=(
            "Requests in flight are answered; then its memory is returned. The artifact remains in the store. The "
            "change survives restarts. Requires an admin key, in development too."
        ),
        handler=delete_model,
        parameters=lambda: (model_parameter(_example(changes)),),
        answer=None,
        answer_description="It is not served any longer.",
        status=204,
        problems=(VALIDATION, NOT_KNOWN, MODEL_REFUSED, INTERNAL, UNAVAILABLE, DEADLINE),
    )


def state_of(served: ServedEntry) -> ServedModelState:
    """Return one model as responses show it."""
    return ServedModelState(
        name=served.entry.name,
        kind=served.kind,
        artifact=label_of(served.entry.artifact),
        version=served.version,
        status=served.status,
        reason=served.reason,
        runner=served.runner,
        required=served.entry.required,
    )


def _state_example(changes: ModelChanges) -> dict[str, Any]:
    served = next(iter(changes.entries()), None)
    if served is None:
        return {}
    state = state_of(served).model_dump()
    return state | {"version": EXAMPLE_VERSION, "status": "ready", "reason": ""}


def _example(changes: ModelChanges) -> str:
    return next((each.entry.name for each in changes.entries()), EXAMPLE_MODEL)


def _name_parameter(changes: ModelChanges) -> dict[str, Any]:
    parameter = model_parameter(_example(changes))
    return {**parameter, "description": "Name of the model in the service."}
