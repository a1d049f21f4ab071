"""Recommendations for users over HTTP: JSON in, JSON out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from models.card import Card
from serving.errors.problem_types import NOT_KNOWN
from serving.http.operation import CALL_PROBLEMS, Content, Operation
from serving.http.requests.json_body import JSON, answer, read_json
from serving.kinds.json_operation import answer_one
from serving.kinds.recommender.examples import item, user
from serving.kinds.recommender.schemas import (
    BulkRecommendations,
    Recommendations,
    RecommendRequest,
    bulk_request,
    name_models,
)
from serving.schemas.fields import EXAMPLE_VERSION

if TYPE_CHECKING:
    from serving.kinds.recommender.handler import RecommenderHandler

RECOMMEND_PATH = "/v1/recommendations"


def operations(handler: RecommenderHandler) -> list[Operation]:
    """`recommend` and `recommend_bulk`."""
    return [_recommend(handler), _recommend_bulk(handler)]


def _recommend(handler: RecommenderHandler) -> Operation:
    return Operation(
        id="recommend",
        method="POST",
        takes_version=True,
        path=RECOMMEND_PATH,
        tag="recommendations",
        summary="Recommend items to a user",
        description=(
            "For a user of the training data, or one with a `history` or `user_features` in the request. Any other "
            "user gets popular items, and `reason` says so. Lists, caps, diversity and the lowest score apply to the "
            "result of every algorithm, and `explain` adds the causes of each item."
        ),
        handler=answer_one(handler),
        body=Content(
            JSON,
            lambda: RecommendRequest,
            lambda: _questions(handler.model.card),
            refine=lambda schemas: name_models(schemas, handler.model.card),
        ),
        answer=Content(JSON, lambda: Recommendations, lambda: {"user": _answer(handler.model.card)}),
        answer_description="Items, best first.",
        problems=(*CALL_PROBLEMS, NOT_KNOWN),
    )


def _recommend_bulk(handler: RecommenderHandler) -> Operation:
    bulk = bulk_request(handler.max_users)

    async def recommend_bulk(request: Request) -> Response:
        body = bulk.model_validate_json(await read_json(request, handler.json_bounds))
        return answer(await handler.recommend_bulk(body))

    return Operation(
        id="recommend_bulk",
        method="POST",
        takes_version=True,
        path=f"{RECOMMEND_PATH}/bulk",
        tag="recommendations",
        summary="Recommend items to several users",
        description=f"Up to {handler.max_users} users. One that cannot be answered fails alone.",
        handler=recommend_bulk,
        body=Content(
            JSON,
            lambda: bulk,
            lambda: {"users": {"user_ids": [user(handler.model.card), "nobody"], "n": 5, "filter_seen": True}},
            refine=lambda schemas: name_models(schemas, handler.model.card),
        ),
        answer=Content(JSON, lambda: BulkRecommendations, lambda: {"users": _bulk_answer(handler.model.card)}),
        answer_description="One result or one error per user, in the order of the request.",
        problems=CALL_PROBLEMS,
    )


def _questions(card: Card) -> dict[str, Any]:
    known = user(card)
    return {
        "user": {"user_id": known, "n": 5},
        "stranger": {"user_id": "someone new", "n": 5, "history": [item(card)]},
        "rules": {"user_id": known, "n": 5, "deny": {"ids": [item(card)]}, "diversity": 0.3, "max_per_category": 3},
    }


def _items() -> list[dict[str, Any]]:
    return [
        {"item_id": "50", "title": "Star Wars (1977)", "score": 2.314, "causes": []},
        {"item_id": "181", "title": "Return of the Jedi (1983)", "score": 2.125, "causes": []},
    ]


def _model(card: Card) -> dict[str, str]:
    return {"name": card.name, "version": EXAMPLE_VERSION}


def _answer(card: Card) -> dict[str, Any]:
    return {
        "model": _model(card),
        "algorithm": card.algorithm,
        "user_id": user(card),
        "items": _items(),
        "reason": None,
        "inference_time_ms": 1.2,
    }


def _bulk_answer(card: Card) -> dict[str, Any]:
    result = {"status": "ok", "items": _items()}
    known = {**result, "index": 0, "user_id": user(card), "algorithm": card.algorithm, "reason": None}
    stranger = {**result, "index": 1, "user_id": "nobody", "algorithm": "popular", "reason": "unknown_user"}
    return {"model": _model(card), "results": [known, stranger], "inference_time_ms": 1.9}
