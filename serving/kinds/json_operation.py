"""The HTTP handler of a model's main operation: one JSON request, answered as a list of one."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serving.http.operation import Handler as HttpHandler
from serving.http.requests.json_body import JSON, read_json
from serving.kinds.interface import Handler


def answer_one(handler: Handler[Any]) -> HttpHandler:
    """Return the HTTP handler that answers a JSON request with `handler.answer_json`."""

    async def answer(request: Request) -> Response:
        body = await answer_body(handler, await read_json(request, handler.json_bounds))
        return Response(body, 200, {"Cache-Control": "no-store"}, JSON)

    return answer


async def answer_body(handler: Handler[Any], body: bytes) -> bytes:
    """Return the JSON of the response to one JSON request. Raises what is wrong with it."""
    (outcome,) = await handler.answer_json([body])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
