"""Operations that describe the problem types; the `type` of a problem document is a path to them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from models.errors import NotKnown
from serving.context import public_path
from serving.errors.problem_types import INTERNAL, NOT_KNOWN, PROBLEM_TYPES, ProblemType
from serving.http.operation import Content, Operation
from serving.http.requests.json_body import JSON, resource
from serving.schemas.problem_types import ProblemKind, ProblemKinds


def operations() -> list[Operation]:
    """Return the operations `list_problems` and `get_problem`."""
    return [_list_problems(), _get_problem()]


def _list_problems() -> Operation:
    first = _described(PROBLEM_TYPES[0]).model_dump()

    async def list_problems(request: Request) -> Response:
        return resource(request, ProblemKinds(problems=[_described(kind) for kind in PROBLEM_TYPES]))

    return Operation(
        id="list_problems",
        method="GET",
        path="/problems",
        tag="service",
        access="docs",
        summary="List problem types",
        handler=list_problems,
        answer=Content(JSON, lambda: ProblemKinds, lambda: {"problems": {"problems": [first]}}),
        answer_description="All problem types.",
        is_conditional=True,
    )


def _get_problem() -> Operation:
    first = _described(PROBLEM_TYPES[0]).model_dump()
    slug = {"type": "string", "enum": [kind.slug for kind in PROBLEM_TYPES]}

    async def get_problem(request: Request) -> Response:
        slug = request.path_params["slug"]
        for kind in PROBLEM_TYPES:
            if kind.slug == slug:
                return resource(request, _described(kind))
        known = ", ".join(kind.slug for kind in PROBLEM_TYPES)
        raise NotKnown(f"no problem type '{slug[:100]}'; known: {known}", location=("path", "slug"))

    return Operation(
        id="get_problem",
        method="GET",
        path="/problems/{slug}",
        tag="service",
        access="docs",
        summary="Get a problem type",
        handler=get_problem,
        parameters=lambda: ({"name": "slug", "in": "path", "required": True, "schema": slug, "example": "validation"},),
        answer=Content(JSON, lambda: ProblemKind, lambda: {"problem": first}),
        answer_description="The problem type.",
        problems=(NOT_KNOWN, INTERNAL),
        is_conditional=True,
    )


def _described(kind: ProblemType) -> ProblemKind:
    return ProblemKind(type=public_path(kind.type), title=kind.title, status=kind.status, description=kind.description)
