"""Sharing out the requests to a model between its versions, over HTTP: for administrators."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serving.errors.problem_types import BODY_FAULTS, DEADLINE, INTERNAL, NOT_KNOWN, RELOAD_REFUSED, UNAVAILABLE
from serving.http.operation import Content, Operation
from serving.http.requests.json_body import JSON, answer, read_json
from serving.http.requests.query import model_parameter
from serving.schemas.fields import EXAMPLE_VERSION, NEWER_VERSION
from serving.schemas.traffic import Role, Traffic, TrafficRequest, TrafficVersion
from serving.versions.controller import Shared, TrafficController
from serving.versions.traffic_split import TrafficSplit

PATH = "/v1/models/{name}/traffic"


def operations(control: TrafficController) -> list[Operation]:
    """`get_traffic`, `set_traffic` and `reset_traffic`."""
    return [_get(control), _set(control), _reset(control)]


def _get(control: TrafficController) -> Operation:
    async def get_traffic(request: Request) -> Response:
        return answer(_told(control.shared(request.path_params["name"])))

    return Operation(
        id="get_traffic",
        method="GET",
        path=PATH,
        tag="models",
        access="read",
        summary="How the requests to a model are shared out",
        handler=get_traffic,
        parameters=lambda: (model_parameter(control.names[0]),),
        answer=_answer(control),
        answer_description="Weights, shadow, and every version that can be asked by name.",
        problems=(NOT_KNOWN, INTERNAL),
    )


def _set(control: TrafficController) -> Operation:
    async def set_traffic(request: Request) -> Response:
        asked = TrafficRequest.model_validate_json(await read_json(request))
        return answer(_told(await control.set(request.path_params["name"], TrafficSplit(asked.weights, asked.shadow))))

    def examples() -> dict[str, Any]:
        # Of versions that are there: the default one.
        version = control.shared(control.names[0]).traffic.default or EXAMPLE_VERSION
        return {"one": {"weights": {version: 1.0}, "shadow": None}, "shadow": {"shadow": version}}

    return Operation(
        id="set_traffic",
        method="PUT",
        path=PATH,
        tag="models",
        access="admin",
        summary="Share out the requests to a model",
        description=(
            "Between versions by weight, each caller always to the same one; and to a shadow, whose answers are "
            "compared and thrown away. Every version is loaded and warmed up before it is asked anything. One that "
            "cannot be leaves the traffic as it was. Kept across restarts, and untouched by a reload. Needs an admin "
            "key, in development too."
        ),
        handler=set_traffic,
        parameters=lambda: (model_parameter(control.names[0]),),
        body=Content(JSON, lambda: TrafficRequest, examples),
        answer=_answer(control),
        answer_description="How they are shared out now.",
        problems=(*BODY_FAULTS, NOT_KNOWN, RELOAD_REFUSED, INTERNAL, UNAVAILABLE, DEADLINE),
    )


def _reset(control: TrafficController) -> Operation:
    async def reset_traffic(request: Request) -> Response:
        return answer(_told(await control.clear(request.path_params["name"])))

    return Operation(
        id="reset_traffic",
        method="DELETE",
        path=PATH,
        tag="models",
        access="admin",
        summary="Give all requests to the version that answers by default",
        handler=reset_traffic,
        parameters=lambda: (model_parameter(control.names[0]),),
        answer=_answer(control),
        answer_description="How they are shared out now.",
        problems=(NOT_KNOWN, INTERNAL, UNAVAILABLE, DEADLINE),
    )


def _told(shared: Shared) -> Traffic:
    traffic, status = shared.traffic, shared.runner.last_status
    plan, default = traffic.plan, traffic.default
    loaded = {default, *status.versions} if status.ready else set()

    def described(version: str) -> TrafficVersion:
        roles: list[Role] = ["default"] if version == default else []
        if version in plan.weights:
            roles.append("weighted" if plan.weights[version] else "named")
        if version == plan.shadow:
            roles.append("shadow")
        share = plan.weights.get(version, 0.0) if plan.weights else float(version == default)
        return TrafficVersion(version=version, roles=roles, share=share, loaded=version in loaded)

    return Traffic(
        name=traffic.name,
        weights=plan.weights,
        shadow=plan.shadow,
        versions=[described(version) for version in traffic.answering],
    )


def _answer(control: TrafficController) -> Content:
    example: dict[str, Any] = {
        "name": control.names[0],
        "weights": {EXAMPLE_VERSION: 0.9, NEWER_VERSION: 0.1},
        "shadow": None,
        "versions": [
            {"version": EXAMPLE_VERSION, "roles": ["default", "weighted"], "share": 0.9, "loaded": True},
            {"version": NEWER_VERSION, "roles": ["weighted"], "share": 0.1, "loaded": True},
        ],
    }
    return Content(JSON, lambda: Traffic, lambda: {"canary": example})
