"""The handler of items."""

from __future__ import annotations

import base64
import binascii
import hashlib

import orjson

from models.limits import MAX_ID_CHARACTERS, MAX_SAFE_INTEGER
from serving.errors.exceptions import FieldFault
from serving.kinds.recommender.item_schemas import ItemDetails, ItemList, SimilarItems, TopItems
from serving.kinds.recommender.queries import ask
from serving.kinds.recommender.version import RecommenderVersion
from serving.kinds.responses import model_used
from serving.kinds.served_model import ServedModel


class ItemHandler:
    """`get_item`, `similar_items`, `list_items` and `top_items`."""

    def __init__(self, model: ServedModel[RecommenderVersion]) -> None:
        self.model = model

    async def details(self, item_id: str) -> ItemDetails:
        """Return one item. Raises NotKnown."""
        result, model = await ask(self.model, {"ask": "item", "item_id": item_id})
        return ItemDetails(model=model_used(model), **_item(result))

    async def similar(self, item_id: str, n: int, model: str | None) -> SimilarItems:
        """Return the most similar items. Raises NotKnown, and InvalidInput for an algorithm that cannot compare."""
        query_ = {"ask": "similar_items", "item_id": item_id, "n": n, "model": model}
        result, used = await ask(self.model, query_)
        return SimilarItems(
            model=model_used(used),
            item_id=item_id,
            algorithm=result["algorithm"],
            items=[_item(each) for each in result["items"]],
        )

    async def list(
        self,
        *,
        query: str | None,
        category: str | None,
        year_from: int | None,
        year_to: int | None,
        page_size: int,
        page_token: str | None,
    ) -> ItemList:
        """Return one page of the matching items. Raises FieldFault for a token of another query.

        A page begins after the last item of the page before it. Another version of the model may have that elsewhere,
        and the list goes on from there.
        """
        parameters = {"query": query, "category": category, "year_from": year_from, "year_to": year_to}
        after, offset = _place(page_token, parameters) if page_token is not None else (None, 0)
        query_ = {"ask": "items", **parameters, "after": after, "offset": offset, "limit": page_size}
        result, used = await ask(self.model, query_)
        end = result["offset"] + len(result["items"])
        more = end < result["total"] and result["items"]
        return ItemList(
            model=model_used(used),
            items=[_item(each) for each in result["items"]],
            total=result["total"],
            next_page_token=_token(result["items"][-1]["item_id"], end, parameters) if more else None,
        )

    async def top(self, n: int, *, window_days: float | None, category: str | None) -> TopItems:
        """Return the items that most users interacted with."""
        query_ = {"ask": "top_items", "n": n, "window_days": window_days, "category": category}
        result, used = await ask(self.model, query_)
        return TopItems(model=model_used(used), items=[_item(each) for each in result["items"]])


def _item(result: dict[str, object]) -> dict[str, object]:
    return {**result, "title": result["title"] or None}


def _token(last: str, offset: int, parameters: dict[str, str | int | None]) -> str:
    after = last if len(last) <= MAX_ID_CHARACTERS else None
    return base64.urlsafe_b64encode(orjson.dumps([after, offset, _digest(parameters)])).decode().rstrip("=")


def _place(token: str, parameters: dict[str, str | int | None]) -> tuple[str | None, int]:
    """Return the item that a page follows, and the number of items before the page. Raises FieldFault."""
    fault = FieldFault(
        "not a token of a page of this list; take `next_page_token` as it is, with the same other parameters",
        location=("query", "page_token"),
        value_type="string",
    )
    try:
        after, offset, digest = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, binascii.Error) as error:
        raise fault from error
    if not isinstance(after, str | None) or type(offset) is not int or not 0 <= offset <= MAX_SAFE_INTEGER:
        raise fault
    if digest != _digest(parameters):
        raise fault
    return after, offset


def _digest(parameters: dict[str, str | int | None]) -> str:
    return hashlib.sha256(orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]
