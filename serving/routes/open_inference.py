"""The Open Inference Protocol, version 2 (KServe), over HTTP: what Triton's and MLServer's clients call.

Problem documents below /v2/health and /v2/models have a member `error`, where these clients look for the message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from serving.errors.problem_types import INTERNAL, NOT_KNOWN, NOT_READY
from serving.header_fields import media_type
from serving.http.operation import CALL_PROBLEMS, Content, JsonSchema, Operation
from serving.http.priority import set_requested_priority
from serving.http.problem_details import problem
from serving.http.requests.json_body import JSON, answer, check_content_type
from serving.http.requests.query import path_parameter
from serving.open_inference.codec import BINARY, HEADER_LENGTH, read, write
from serving.open_inference.handler import OpenInferenceHandler
from serving.open_inference.model import InferenceModel
from serving.open_inference.schemas import (
    InferAnswer,
    InferRequest,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from serving.routes.health import NAME, readiness
from serving.schemas.fields import EXAMPLE_MODEL, EXAMPLE_VERSION
from serving.settings.model_list import identifier
from serving.versions.model_changes import ModelChanges

EXTENSIONS = ["binary_tensor_data", "classification", "model_repository"]
Form = Literal["", "_version"]


def operations(
    calls: OpenInferenceHandler,
    *,
    version: str,
    is_stopping: Callable[[], bool],
    changes: ModelChanges | None = None,
) -> list[Operation]:
    """Everything below /v2, the models' own paths before those with a name."""
    if not calls.models:
        return [_server(version), _live(), _ready(calls, is_stopping, changes)]
    return [
        _server(version),
        _live(),
        _ready(calls, is_stopping, changes),
        *(_metadata(calls, form) for form in _FORMS),
        *(_model_ready(calls, form, changes) for form in _FORMS),
        *(_infer(calls, model, form) for model in calls.models.values() for form in _FORMS),
    ]


def unlisted(calls: OpenInferenceHandler) -> list[Operation]:
    """Inference by the name that a model has in the store; and what is no name gets the list of those that are."""
    if not calls.models:
        return []
    return [_infer(calls, None, form) for form in _FORMS]


_FORMS: tuple[Form, ...] = ("", "_version")


def _server(version: str) -> Operation:
    here = ServerMetadata(name=NAME, version=version, extensions=EXTENSIONS)

    async def metadata(request: Request) -> Response:
        return answer(here)

    return Operation(
        id="inference_server",
        access="docs",
        method="GET",
        path="/v2",
        tag="inference",
        summary="The server, in the Open Inference Protocol",
        handler=metadata,
        answer=Content(JSON, lambda: ServerMetadata, lambda: {"server": here.model_dump()}),
        answer_description="Name, version, extensions.",
    )


def _live() -> Operation:
    async def live(request: Request) -> Response:
        return answer(ServerLive(live=True))

    return Operation(
        id="inference_live",
        access="probe",
        method="GET",
        path="/v2/health/live",
        tag="inference",
        summary="Is the process alive?",
        handler=live,
        answer=Content(JSON, lambda: ServerLive, lambda: {"alive": {"live": True}}),
        answer_description="It is.",
    )


def _ready(calls: OpenInferenceHandler, is_stopping: Callable[[], bool], changes: ModelChanges | None) -> Operation:
    async def ready(request: Request) -> Response:
        states = await readiness(calls.runners, changes)
        missing = [name for name, runner in states.items() if runner.required and not runner.ready]
        if not missing and not is_stopping():
            return answer(ServerReady(ready=True))
        why = f"not ready: {', '.join(missing)}" if missing else "the service is stopping"
        return problem(NOT_READY, why, instance=request.scope["path"], ready=False)

    return Operation(
        id="inference_ready",
        access="probe",
        method="GET",
        path="/v2/health/ready",
        tag="inference",
        summary="Can every model infer?",
        handler=ready,
        answer=Content(JSON, lambda: ServerReady, lambda: {"ready": {"ready": True}}),
        answer_description="All of them can.",
        problems=(NOT_READY, INTERNAL),
    )


def _metadata(calls: OpenInferenceHandler, form: Form) -> Operation:
    async def metadata(request: Request) -> Response:
        return answer(await calls.metadata(*_named(request)))

    return Operation(
        id=f"inference_model{form}",
        access="read",
        method="GET",
        path=_path("{name}", form),
        tag="inference",
        summary="What a model takes and gives",
        description=f"By its name in the store, or by one of: {', '.join(f'`{alias}`' for alias in calls.models)}.",
        handler=metadata,
        parameters=lambda: _parameters(calls, form, is_named=True),
        answer=Content(JSON, lambda: ModelMetadata, lambda: {"model": _metadata_example()}),
        answer_description="Inputs and outputs.",
        problems=(NOT_KNOWN, INTERNAL),
    )


def _model_ready(calls: OpenInferenceHandler, form: Form, changes: ModelChanges | None) -> Operation:
    async def ready(request: Request) -> Response:
        name, version = _named(request)
        if changes is not None and any(
            each.entry.name == name and each.status == "failed" for each in changes.entries()
        ):
            return problem(NOT_READY, f"not ready: {name}", instance=request.scope["path"], ready=False)
        model = calls.model(name)
        if version is not None:
            await calls.answering(model, version)
        (status,) = (await readiness([model.runner])).values()
        if status.ready:
            return answer(ModelReady(name=name, ready=True))
        return problem(NOT_READY, f"not ready: {name}", instance=request.scope["path"], ready=False)

    return Operation(
        id=f"inference_model_ready{form}",
        access="probe",
        method="GET",
        path=f"{_path('{name}', form)}/ready",
        tag="inference",
        summary="Can a model infer?",
        handler=ready,
        parameters=lambda: _parameters(calls, form, is_named=True),
        answer=Content(JSON, lambda: ModelReady, lambda: {"ready": {"name": EXAMPLE_MODEL, "ready": True}}),
        answer_description="It can.",
        problems=(NOT_KNOWN, NOT_READY, INTERNAL),
    )


def _infer(calls: OpenInferenceHandler, model: InferenceModel | None, form: Form) -> Operation:
    async def infer(request: Request) -> Response:
        if "content-type" in request.headers:
            # Clients send tensors as bytes under either type, or under none.
            given = media_type(request.headers["content-type"])
            check_content_type(request, BINARY if given == BINARY else JSON)
        name, version = _named(request)
        name = model.alias if model is not None else name
        bounds = calls.model(name).bounds()
        decoded = await read(await request.body(), request.headers.get(HEADER_LENGTH), bounds)
        if decoded.priority is not None:
            set_requested_priority(request.scope, decoded.priority)
        inferred = await calls.infer(name, version, decoded)
        body, header_length = write(decoded, inferred.outputs, model=name, version=inferred.version)
        if header_length is None:
            return Response(body, 200, {"Cache-Control": "no-store"}, JSON)
        return Response(body, 200, {"Cache-Control": "no-store", HEADER_LENGTH: str(header_length)}, BINARY)

    shown = model or next(iter(calls.models.values()))
    alias = model.alias if model is not None else ""
    return Operation(
        id=f"infer_{identifier(alias) or 'model'}{form}",
        model=alias,
        takes_version=not form,
        method="POST",
        path=f"{_path(alias or '{name}', form)}/infer",
        tag="inference",
        summary=f"Infer with the {alias or 'named'} model",
        description=(
            f"{shown.description} Tensors may be bytes behind the JSON (`{HEADER_LENGTH}` says how long the JSON is), "
            "and outputs are where `binary_data` asks for it."
        ),
        handler=infer,
        parameters=lambda: (*_parameters(calls, form, is_named=model is None), _HEADER),
        body=Content(JSON, lambda: InferRequest, lambda: {"row": shown.example()[0]}),
        more_bodies=(Content(BINARY, lambda: _BYTES),),
        answer=Content(JSON, lambda: InferAnswer, lambda: {"outputs": _answer_example(shown)}),
        more_answers=(Content(BINARY, lambda: _BYTES),),
        answer_description="The outputs.",
        problems=(*CALL_PROBLEMS, NOT_KNOWN),
    )


_BYTES: JsonSchema = {"type": "string", "format": "binary", "contentMediaType": BINARY}
_HEADER: JsonSchema = {
    "name": HEADER_LENGTH,
    "in": "header",
    "required": False,
    "description": "Length of the JSON at the start of the body, where bytes follow it.",
    "schema": {"type": "integer", "minimum": 0},
}


def _path(name: str, form: Form) -> str:
    return f"/v2/models/{name}/versions/{{version}}" if form else f"/v2/models/{name}"


def _named(request: Request) -> tuple[str, str | None]:
    return str(request.path_params.get("name", "")), request.path_params.get("version")


def _parameters(calls: OpenInferenceHandler, form: Form, *, is_named: bool) -> tuple[JsonSchema, ...]:
    name = path_parameter("name", "Name of the model.", next(iter(calls.models)))
    version = path_parameter("version", "A version that answers.", EXAMPLE_VERSION)
    return ((name,) if is_named else ()) + ((version,) if form else ())


def _metadata_example() -> dict[str, Any]:
    return {
        "name": EXAMPLE_MODEL,
        "versions": [EXAMPLE_VERSION],
        "platform": "onnxruntime",
        "inputs": [{"name": "age", "datatype": "INT64", "shape": [-1]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]}],
    }


def _answer_example(model: InferenceModel) -> dict[str, Any]:
    return {"model_name": model.alias, "model_version": EXAMPLE_VERSION, "outputs": [model.example()[1]]}
