"""Feedback over HTTP: 202 once it is durable."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from serving.calls.feedback import FeedbackCalls
from serving.errors import (
    DEADLINE,
    FEEDBACK_UNAVAILABLE,
    INTERNAL,
    MALFORMED,
    OVERLOADED,
    TOO_LARGE,
    UNSUPPORTED,
    VALIDATION,
    FieldFault,
)
from serving.routes.body import JSON, answer, read_json
from serving.routes.operation import Content, JsonSchema, Operation
from serving.schemas.feedback import MAX_KEY_CHARACTERS, Accepted, feedback_request

_EVENT = {"user_id": "196", "item_id": "50", "kind": "like", "idempotency_key": "b7e1c2"}
_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARACTERS}}}")
_HEADER: JsonSchema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Names the request: sent again, the events without a key of their own are the same ones.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARACTERS, "pattern": "^[!-~]+$"},
}


def operations(calls: FeedbackCalls) -> list[Operation]:
    """`send_feedback`."""
    kind = feedback_request(calls.max_events)

    async def send_feedback(request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        if key is not None and not _KEY.fullmatch(key):
            message = f"should have 1 to {MAX_KEY_CHARACTERS} characters of ASCII, and no blank"
            raise FieldFault(message, location=("header", "Idempotency-Key"), value_type="string")
        sent = kind.model_validate_json(await read_json(request))
        response = answer(await calls.send(sent, request_key=key))
        response.status_code = 202
        return response

    return [
        Operation(
            id="send_feedback",
            method="POST",
            path="/v1/feedback",
            tag="feedback",
            summary="Tell what users did",
            description=(
                f"Up to {calls.max_events} events. They are durable before the answer, and recommendations of their "
                "users reflect them within a second: what was seen, what is liked, what is popular."
            ),
            handler=send_feedback,
            body=Content(JSON, lambda: kind, lambda: {"like": {"events": [_EVENT]}}),
            parameters=lambda: (_HEADER,),
            answer=Content(JSON, lambda: Accepted, lambda: {"accepted": {"accepted": 1, "duplicates": 0}}),
            answer_description="The events are kept.",
            problems=(
                MALFORMED, TOO_LARGE, UNSUPPORTED, VALIDATION, INTERNAL, OVERLOADED, FEEDBACK_UNAVAILABLE, DEADLINE,
            ),
            status=202,
        )
    ]  # fmt: skip
