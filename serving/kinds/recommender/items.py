"""What is known of items. Knows questions and answers, no HTTP."""

from __future__ import annotations

import base64
import binascii
import hashlib

import orjson

from serving.errors.exceptions import FieldFault
from serving.kinds.recommender.item_schemas import ItemDetails, ItemList, SimilarItems, TopItems
from serving.kinds.recommender.queries import ask
from serving.kinds.recommender.version import RecommenderVersion
from serving.kinds.responses import model_used
from serving.kinds.served_model import ServedModel
from serving.schemas.fields import MAX_ID_CHARACTERS, MAX_SAFE_INTEGER


class ItemHandler:
    """`get_item`, `similar_items`, `list_items` and `top_items`."""

    def __init__(self, model: ServedModel[RecommenderVersion]) -> None:
        self.model = model

    async def details(self, item_id: str) -> ItemDetails:
        """One item. Raises NotKnown."""
        found, model = await ask(self.model, {"ask": "item", "item_id": item_id})
        return ItemDetails(model=model_used(model), **_item(found))

    async def similar(self, item_id: str, n: int, model: str | None) -> SimilarItems:
        """The items most like one. Raises NotKnown, and InvalidInput for an algorithm that cannot tell."""
        question = {"ask": "similar_items", "item_id": item_id, "n": n, "model": model}
        found, used = await ask(self.model, question)
        return SimilarItems(
            model=model_used(used),
            item_id=item_id,
            algorithm=found["algorithm"],
            items=[_item(each) for each in found["items"]],
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
        """One page of the items found. Raises FieldFault for a token of another question.

        A page begins after the last item of the page before it. Another version of the model may have that elsewhere,
        and the list goes on from there.
        """
        asked = {"query": query, "category": category, "year_from": year_from, "year_to": year_to}
        after, offset = _place(page_token, asked) if page_token is not None else (None, 0)
        question = {"ask": "items", **asked, "after": after, "offset": offset, "limit": page_size}
        found, used = await ask(self.model, question)
        end = found["offset"] + len(found["items"])
        more = end < found["total"] and found["items"]
        return ItemList(
            model=model_used(used),
            items=[_item(each) for each in found["items"]],
            total=found["total"],
            next_page_token=_token(found["items"][-1]["item_id"], end, asked) if more else None,
        )

    async def top(self, n: int, *, window_days: float | None, category: str | None) -> TopItems:
        """The items that most users took to."""
        question = {"ask": "top_items", "n": n, "window_days": window_days, "category": category}
        found, used = await ask(self.model, question)
        return TopItems(model=model_used(used), items=[_item(each) for each in found["items"]])


def _item(found: dict[str, object]) -> dict[str, object]:
    return {**found, "title": found["title"] or None}


def _token(last: str, offset: int, asked: dict[str, str | int | None]) -> str:
    after = last if len(last) <= MAX_ID_CHARACTERS else None
    return base64.urlsafe_b64encode(orjson.dumps([after, offset, _digest(asked)])).decode().rstrip("=")


def _place(token: str, asked: dict[str, str | int | None]) -> tuple[str | None, int]:
    """The item that a page follows, and how many come before the page. Raises FieldFault."""
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
    if digest != _digest(asked):
        raise fault
    return after, offset


def _digest(asked: dict[str, str | int | None]) -> str:
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]
