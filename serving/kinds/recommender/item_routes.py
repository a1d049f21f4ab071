"""The operations on items: search by title, details, similar items, the most popular items."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from serving.errors.problem_types import CALL_FAILURES, NOT_KNOWN, VALIDATION
from serving.http.operation import Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON, resource
from serving.http.requests.query import Query, parameters_of, path_parameter, read_query
from serving.kinds.recommender.examples import item
from serving.kinds.recommender.item_schemas import ItemDetails, ItemList, SimilarItems, TopItems
from serving.kinds.recommender.items import ItemHandler
from serving.kinds.recommender.schemas import MAX_ITEMS, known_models
from serving.schemas.fields import EXAMPLE_VERSION

_MODEL = {"name": "recommender", "version": EXAMPLE_VERSION}
_ITEM = {
    "item_id": "50",
    "title": "Star Wars (1977)",
    "categories": ["Action", "Sci-Fi"],
    "year": 1977,
    "interactions": 583,
    "score": None,
}
_MAX_CHARACTERS = 256
# An item's id, each character of which may take six bytes of JSON.
_MAX_TOKEN_CHARACTERS = 2_200


class _Similar(Query):
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="How many at most.")
    model: str | None = Field(
        None, min_length=1, max_length=64, description="Which algorithm compares; the first that can when not given."
    )


class _List(Query):
    query: str | None = Field(
        None,
        max_length=_MAX_CHARACTERS,
        description="Words of the title; misspelled letters and missing accents are tolerated.",
    )
    category: str | None = Field(None, min_length=1, max_length=_MAX_CHARACTERS, description="Only of this category.")
    year_from: int | None = Field(None, ge=-9999, le=9999, description="Only of this year or later.")
    year_to: int | None = Field(None, ge=-9999, le=9999, description="Only of this year or earlier.")
    page_size: int = Field(20, ge=1, le=100, description="Items on a page.")
    page_token: str | None = Field(
        None,
        min_length=1,
        max_length=_MAX_TOKEN_CHARACTERS,
        description="`next_page_token` of the page before, with the same other parameters. The page begins after the "
        "last item of that page, also when another version of the model answers.",
    )


class _Top(Query):
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="How many at most.")
    window_days: float | None = Field(
        None,
        gt=0,
        le=36_525,
        allow_inf_nan=False,
        description="Only what happened in the last days before the newest event.",
    )
    category: str | None = Field(None, min_length=1, max_length=_MAX_CHARACTERS, description="Only of this category.")


def operations(handler: ItemHandler) -> list[Operation]:
    """Return the operations below /v1/items, the fixed paths before those with an id."""
    return [_list(handler), _top(handler), _similar(handler), _details(handler)]


def _list(handler: ItemHandler) -> Operation:
    async def list_items(request: Request) -> Response:
        query = read_query(request, _List)
        return resource(request, await handler.list(**query.model_dump()))

    return Operation(
        id="list_items",
        method="GET",
        takes_version=True,
        path="/v1/items",
        tag="items",
        access="read",
        summary="Find items",
        handler=list_items,
        parameters=lambda: parameters_of(_List, query="star wrs", page_size=5),
        answer=Content(JSON, lambda: ItemList, lambda: {"items": _page()}),
        answer_description="One page of items.",
        problems=(VALIDATION, *CALL_FAILURES),
        is_conditional=True,
    )


def _top(handler: ItemHandler) -> Operation:
    async def top_items(request: Request) -> Response:
        query = read_query(request, _Top)
        return resource(request, await handler.top(query.n, window_days=query.window_days, category=query.category))

    return Operation(
        id="top_items",
        method="GET",
        takes_version=True,
        path="/v1/items/top",
        tag="items",
        access="read",
        summary="The most popular items",
        handler=top_items,
        parameters=lambda: parameters_of(_Top, n=5, window_days=30),
        answer=Content(JSON, lambda: TopItems, lambda: {"items": {"model": _MODEL, "items": [_ITEM]}}),
        answer_description="Items, most users first.",
        problems=(VALIDATION, *CALL_FAILURES),
        is_conditional=True,
    )


def _similar(handler: ItemHandler) -> Operation:
    async def similar_items(request: Request) -> Response:
        query = read_query(request, _Similar)
        return resource(request, await handler.similar(str(request.path_params["item_id"]), query.n, query.model))

    def example() -> dict[str, Any]:
        items = [{**_ITEM, "item_id": "181", "title": "Return of the Jedi (1983)", "year": 1983, "score": 0.969}]
        return {"model": _MODEL, "algorithm": "item-knn", "item_id": "50", "items": items}

    return Operation(
        id="get_similar_items",
        method="GET",
        takes_version=True,
        path="/v1/items/{item_id}/similar",
        tag="items",
        access="read",
        summary="Similar items",
        handler=similar_items,
        parameters=lambda: (_path(handler), *parameters_of(_Similar, models=known_models(handler.model.card), n=5)),
        answer=Content(JSON, lambda: SimilarItems, lambda: {"items": example()}),
        answer_description="Items, most similar first.",
        problems=(VALIDATION, NOT_KNOWN, *CALL_FAILURES),
        is_conditional=True,
    )


def _details(handler: ItemHandler) -> Operation:
    async def get_item(request: Request) -> Response:
        read_query(request, Query)
        return resource(request, await handler.details(str(request.path_params["item_id"])))

    def example() -> dict[str, Any]:
        features = {"release_year": 1977, "genres": ["Action", "Sci-Fi"]}
        return {**_ITEM, "model": _MODEL, "features": features, "rank": 1}

    return Operation(
        id="get_item",
        method="GET",
        takes_version=True,
        path="/v1/items/{item_id}",
        tag="items",
        access="read",
        summary="Details of an item",
        handler=get_item,
        parameters=lambda: (_path(handler),),
        answer=Content(JSON, lambda: ItemDetails, lambda: {"item": example()}),
        answer_description="The item.",
        problems=(VALIDATION, NOT_KNOWN, *CALL_FAILURES),
        is_conditional=True,
    )


def _path(handler: ItemHandler) -> JsonSchema:
    return path_parameter("item_id", "Id of the item, as it was in the training data.", item(handler.model.card))


def _page() -> dict[str, Any]:
    return {"model": _MODEL, "items": [{**_ITEM, "score": 96.9}], "total": 1, "next_page_token": None}
