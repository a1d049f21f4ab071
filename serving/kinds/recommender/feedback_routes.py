"""Feedback over HTTP: 202 once it is durable."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from serving.access.guard import owner_of
from serving.errors.problem_types import BODY_FAULTS, DEADLINE, FEEDBACK_UNAVAILABLE, INTERNAL, KEY_REUSED, OVERLOADED
from serving.http.operation import Content, Operation
from serving.http.requests.idempotency import idempotency_parameter, read_idempotency_key
from serving.http.requests.json_body import JSON, answer, read_json
from serving.http.requests.json_bounds import DEFAULT_BOUNDS
from serving.kinds.recommender.feedback import FeedbackHandler
from serving.kinds.recommender.feedback_schemas import Accepted, feedback_request

_EVENT = {"user_id": "196", "item_id": "50", "kind": "like", "idempotency_key": "b7e1c2"}
_HEADER = idempotency_parameter(
    "Names the request: sent again by the same caller, its events are the same ones. With other events it is refused."
)


def operations(calls: FeedbackHandler) -> list[Operation]:
    """`send_feedback`."""
    kind = feedback_request(calls.max_events)
    # An event has six fields.
    bounds = DEFAULT_BOUNDS.allowing(fields=7 * calls.max_events)

    async def send_feedback(request: Request) -> Response:
        key = read_idempotency_key(request)
        sent = kind.model_validate_json(await read_json(request, bounds))
        response = answer(await calls.send(sent, owner=owner_of(request.scope), request_key=key))
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
            problems=(*BODY_FAULTS, KEY_REUSED, INTERNAL, OVERLOADED, FEEDBACK_UNAVAILABLE, DEADLINE),
            status=202,
        )
    ]
