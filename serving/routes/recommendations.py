"""Recommendations for users over HTTP: JSON in, JSON out."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from models.card import Card
from serving.calls.recommendations import RecommenderCalls
from serving.errors import NOT_KNOWN
from serving.routes.body import JSON, answer, read_json
from serving.routes.operation import CALL_PROBLEMS, Content, Operation
from serving.schemas.recommendations import BulkRecommendations, Recommendations, RecommendRequest, bulk_request


def operations(calls: RecommenderCalls) -> list[Operation]:
    """`recommend` and `recommend_bulk`."""
    return [_recommend(calls), _recommend_bulk(calls)]


def _recommend(calls: RecommenderCalls) -> Operation:
    async def recommend(request: Request) -> Response:
        asked = RecommendRequest.model_validate_json(await read_json(request))
        return answer(await calls.recommend(asked))

    return Operation(
        id="recommend",
        method="POST",
        path="/v1/recommendations",
        tag="recommendations",
        summary="Recommend items to a user",
        description="A user who is not in the training data gets popular items, and is told so by `reason`.",
        handler=recommend,
        body=Content(JSON, lambda: RecommendRequest, lambda: {"user": {"user_id": user(calls.served.card()), "n": 5}}),
        answer=Content(JSON, lambda: Recommendations, lambda: {"user": _answer(calls.served.card())}),
        answer_description="Items, best first.",
        problems=(*CALL_PROBLEMS, NOT_KNOWN),
    )


def _recommend_bulk(calls: RecommenderCalls) -> Operation:
    bulk = bulk_request(calls.max_users)

    async def recommend_bulk(request: Request) -> Response:
        asked = bulk.model_validate_json(await read_json(request))
        return answer(await calls.recommend_bulk(asked))

    return Operation(
        id="recommend_bulk",
        method="POST",
        path="/v1/recommendations/bulk",
        tag="recommendations",
        summary="Recommend items to several users",
        description=f"Up to {calls.max_users} users. One that cannot be answered fails alone.",
        handler=recommend_bulk,
        body=Content(
            JSON,
            lambda: bulk,
            lambda: {"users": {"user_ids": [user(calls.served.card()), "nobody"], "n": 5, "filter_seen": True}},
        ),
        answer=Content(JSON, lambda: BulkRecommendations, lambda: {"users": _bulk_answer(calls.served.card())}),
        answer_description="One result or one error per user, in the order of the request.",
        problems=CALL_PROBLEMS,
    )


def user(card: Card) -> str:
    """A user of the training data, where the card names one."""
    return next((str(column.example) for column in card.inputs if column.example is not None), "1")


def _items() -> list[dict[str, Any]]:
    return [
        {"item_id": "50", "title": "Star Wars (1977)", "score": 2.314},
        {"item_id": "181", "title": "Return of the Jedi (1983)", "score": 2.125},
    ]


def _model(card: Card) -> dict[str, str]:
    return {"name": card.name, "version": "fmwlvvqbgkyaqusi"}


def _answer(card: Card) -> dict[str, Any]:
    return {
        "model": _model(card),
        "user_id": user(card),
        "items": _items(),
        "reason": None,
        "inference_time_ms": 1.2,
    }


def _bulk_answer(card: Card) -> dict[str, Any]:
    known = {"status": "ok", "index": 0, "user_id": user(card), "items": _items(), "reason": None}
    stranger = {"status": "ok", "index": 1, "user_id": "nobody", "items": _items(), "reason": "unknown_user"}
    return {"model": _model(card), "results": [known, stranger], "inference_time_ms": 1.9}
