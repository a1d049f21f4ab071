"""Operations for administrators: split the traffic of a model between its versions."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serving.errors.problem_types import BODY_FAULTS, DEADLINE, INTERNAL, NOT_KNOWN, RELOAD_REFUSED, UNAVAILABLE
from serving.http.operation import Content, Operation
from serving.http.requests.json_body import JSON, answer, read_json
from serving.http.requests.query import model_parameter
from serving.schemas.fields import EXAMPLE_VERSION
from serving.schemas.traffic import Traffic, TrafficRequest, TrafficVersion
from serving.versions.reconciler import Reconciler
from serving.versions.report import ModelReport
from serving.versions.traffic_split import TrafficSplit

PATH = "/v1/models/{name}/traffic"


def operations(reconciler: Reconciler) -> list[Operation]:
    """Return `get_traffic`, `set_traffic` and `reset_traffic`."""
    return [_get(reconciler), _set(reconciler), _reset(reconciler)]


def _get(reconciler: Reconciler) -> Operation:
    async def get_traffic(request: Request) -> Response:
        return answer(_traffic(reconciler.report(request.path_params["name"])))

    return Operation(
        id="get_traffic",
        method="GET",
        path=PATH,
        tag="models",
        access="read",
        summary="Get the traffic split of a model",
        handler=get_traffic,
        parameters=lambda: (model_parameter(reconciler.example),),
        answer=_answer(reconciler),
        answer_description="Weights, shadow, and every version that a request can name.",
        problems=(NOT_KNOWN, INTERNAL),
    )


def _set(reconciler: Reconciler) -> Operation:
    async def set_traffic(request: Request) -> Response:
        body = TrafficRequest.model_validate_json(await read_json(request))
        split = TrafficSplit(body.weights, body.shadow)
        return answer(_traffic(await reconciler.set_split(request.path_params["name"], split)))

    def examples() -> dict[str, Any]:
        # The examples must work when a test sends them, so they name the default version.
        active = reconciler.report(reconciler.example).active
        version = active.version if active else EXAMPLE_VERSION
        return {"one": {"weights": {version: 1.0}, "shadow": None}, "shadow": {"shadow": version}}

    return Operation(
        id="set_traffic",
        method="PUT",
        path=PATH,
        tag="models",
        access="admin",
        summary="Split the traffic of a model",
        description=(
            "Splits requests between versions by weight, and sends each caller to the same version every time. The "
            "answers of a shadow are compared and discarded. Every version is loaded and must answer its example "
            "before it gets requests. A version that cannot be loaded changes nothing. The split survives restarts and "
            "reloads. Requires an admin key, in development too."
        ),
        handler=set_traffic,
        parameters=lambda: (model_parameter(reconciler.example),),
        body=Content(JSON, lambda: TrafficRequest, examples),
        answer=_answer(reconciler),
        answer_description="The traffic split now.",
        problems=(*BODY_FAULTS, NOT_KNOWN, RELOAD_REFUSED, INTERNAL, UNAVAILABLE, DEADLINE),
    )


def _reset(reconciler: Reconciler) -> Operation:
    async def reset_traffic(request: Request) -> Response:
        return answer(_traffic(await reconciler.clear_split(request.path_params["name"])))

    return Operation(
        id="reset_traffic",
        method="DELETE",
        path=PATH,
        tag="models",
        access="admin",
        summary="Send all traffic to the default version",
        handler=reset_traffic,
        parameters=lambda: (model_parameter(reconciler.example),),
        answer=_answer(reconciler),
        answer_description="The traffic split now.",
        problems=(NOT_KNOWN, INTERNAL, UNAVAILABLE, DEADLINE),
    )


def _traffic(report: ModelReport) -> Traffic:
    return Traffic(
        name=report.name,
        weights=report.split.weights,
        shadow=report.split.shadow,
        versions=[
            TrafficVersion(version=each.version, roles=list(each.roles), share=each.share, loaded=each.is_loaded)
            for each in report.versions
        ],
    )


def _answer(reconciler: Reconciler) -> Content:
    example: dict[str, Any] = {
        "name": reconciler.example,
        "weights": {EXAMPLE_VERSION: 1.0},
        "shadow": None,
        "versions": [
            {"version": EXAMPLE_VERSION, "roles": ["default", "weighted"], "share": 1.0, "loaded": True},
        ],
    }
    return Content(JSON, lambda: Traffic, lambda: {"canary": example})
