"""The model repository extension of the Open Inference Protocol, which Triton's clients call to load and unload models.

A load serves the configured model of the name, or the artifact of the name in the store. Parameters of a load are those
of Triton, and none of them has a meaning here.
"""

from __future__ import annotations

from typing import Literal

from anyio.to_thread import run_sync
from pydantic import BaseModel, ConfigDict, Field, RootModel
from starlette.requests import Request
from starlette.responses import Response

from serving.errors.problem_types import BODY_FAULTS, DEADLINE, INTERNAL, MODEL_REFUSED, NOT_KNOWN, UNAVAILABLE
from serving.http.operation import Content, Operation
from serving.http.requests.json_body import JSON, answer, check_content_type
from serving.http.requests.json_bounds import DEFAULT_BOUNDS, check_json
from serving.http.requests.query import path_parameter
from serving.schemas.fields import EXAMPLE_MODEL, EXAMPLE_VERSION
from serving.schemas.fields import Response as ResponseModel
from serving.versions.model_changes import ModelChanges

PATH = "/v2/repository"
_PROBLEMS = (*BODY_FAULTS, NOT_KNOWN, MODEL_REFUSED, INTERNAL, UNAVAILABLE, DEADLINE)


class RepositoryRequest(BaseModel):
    """The body of each of these calls. Unknown members are ignored, as everywhere below /v2."""

    model_config = ConfigDict(extra="ignore", strict=True)

    ready: bool = Field(False, description="Whether only models that are ready are listed.")


class RepositoryModel(ResponseModel):
    """One model of the repository."""

    name: str = Field(examples=[EXAMPLE_MODEL])
    version: str = Field(description="The default version; empty where it is not loaded.", examples=[EXAMPLE_VERSION])
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = Field(description="Why it is not ready, or empty.")


class RepositoryIndex(RootModel[list[RepositoryModel]]):
    """The models of the service, and those of the store that can be loaded."""


class RepositoryChange(ResponseModel):
    """An empty object, as the protocol has it."""


def operations(changes: ModelChanges) -> list[Operation]:
    """Return `repository_index`, `load_model` and `unload_model`."""
    return [_index(changes), _change(changes, "load"), _change(changes, "unload")]


def _index(changes: ModelChanges) -> Operation:
    async def index(request: Request) -> Response:
        wants_ready = (await _read(request)).ready
        models = [
            RepositoryModel(
                name=each.entry.name,
                version=each.version,
                state="READY" if each.status == "ready" else "UNAVAILABLE",
                reason=each.reason,
            )
            for each in changes.entries()
        ]
        names = {each.name for each in models}
        others = [name for name in await run_sync(changes.known) if name not in names]
        models += [RepositoryModel(name=name, version="", state="UNAVAILABLE", reason="not loaded") for name in others]
        return answer(RepositoryIndex([each for each in models if each.state == "READY" or not wants_ready]))

    shown = {"name": EXAMPLE_MODEL, "version": EXAMPLE_VERSION, "state": "READY", "reason": ""}
    return Operation(
        id="repository_index",
        method="POST",
        path=f"{PATH}/index",
        tag="inference",
        access="read",
        summary="List the models that are loaded or can be",
        handler=index,
        body=Content(JSON, lambda: RepositoryRequest, lambda: {"all": {}, "ready": {"ready": True}}),
        is_body_optional=True,
        answer=Content(JSON, lambda: RepositoryIndex, lambda: {"index": [shown]}),
        answer_description="The models.",
        problems=(*BODY_FAULTS, INTERNAL),
    )


def _change(changes: ModelChanges, verb: Literal["load", "unload"]) -> Operation:
    async def change(request: Request) -> Response:
        await _read(request)
        name = str(request.path_params["name"])
        if verb == "load":
            await changes.load(name)
        else:
            await changes.remove(name)
        return answer(RepositoryChange())

    described = {
        "load": "Serves the configured model of this name, or the artifact of this name in the store. It answers once "
        "the call has returned.",
        "unload": "As `delete_model`.",
    }
    return Operation(
        id=f"{verb}_model",
        method="POST",
        path=f"{PATH}/models/{{name}}/{verb}",
        tag="inference",
        access="admin",
        summary=f"{verb.capitalize()} a model",
        description=f"{described[verb]} Requires an admin key, in development too.",
        handler=change,
        parameters=lambda: (path_parameter("name", "Name of the model.", EXAMPLE_MODEL),),
        body=Content(JSON, lambda: RepositoryRequest, lambda: {"plain": {}}),
        is_body_optional=True,
        answer=Content(JSON, lambda: RepositoryChange, lambda: {"done": {}}),
        answer_description="It is done.",
        problems=_PROBLEMS,
    )


async def _read(request: Request) -> RepositoryRequest:
    """Return the body, which clients may leave out."""
    body = await request.body()
    if not body:
        return RepositoryRequest()
    if "content-type" in request.headers:
        # The client of Triton sends none.
        check_content_type(request, JSON)
    await check_json(body, DEFAULT_BOUNDS)
    return RepositoryRequest.model_validate_json(body)
