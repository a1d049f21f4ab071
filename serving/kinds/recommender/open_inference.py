"""Users as tensors of the Open Inference Protocol.

Inputs are `user_id`, BYTES (N); `n`, INT32 (1) or (N); `filter_seen`, BOOL (1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.card import Card
from models.errors import InvalidInput
from serving.kinds.recommender.examples import user
from serving.kinds.recommender.schemas import MAX_ITEMS, BulkRecommendRequest, UserFailure, UserResult
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata, tensor_metadata
from serving.open_inference.tensors import Tensor, text_of, text_tensor

if TYPE_CHECKING:
    from serving.kinds.recommender.handler import RecommenderHandler

DESCRIPTION = (
    "`user_id` is BYTES [N]; `n` INT32 [1], or [N] for each user; `filter_seen` BOOL [1]. A list that is shorter than "
    "the longest is filled up, and `count` says how long it is."
)


def tensors() -> tuple[list[TensorMetadata], list[TensorMetadata]]:
    """Return the inputs and outputs of a recommender."""
    inputs = [
        tensor_metadata("user_id", "BYTES"),
        tensor_metadata("n", "INT32"),
        tensor_metadata("filter_seen", "BOOL"),
    ]
    outputs = [
        tensor_metadata("item_id", "BYTES", -1),
        tensor_metadata("title", "BYTES", -1),
        tensor_metadata("score", "FP32", -1),
        tensor_metadata("count", "INT32"),
        tensor_metadata("reason", "BYTES"),
    ]
    return inputs, outputs


def example(card: Card) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return examples of the body and of one output of a request."""
    users = {"name": "user_id", "datatype": "BYTES", "shape": [1], "data": [user(card)]}
    body = {"inputs": [users, {"name": "n", "datatype": "INT32", "shape": [1], "data": [3]}]}
    return body, {"name": "item_id", "datatype": "BYTES", "shape": [1, 2], "data": ["50", "181"]}


async def infer(handler: RecommenderHandler, request: DecodedRequest) -> Inferred:
    """Recommend items to each user. Raises InvalidInput, and as `RecommenderHandler.recommend_bulk`."""
    inputs = {tensor.name: tensor for tensor in request.inputs}
    for index, name in enumerate(inputs):
        if name not in ("user_id", "n", "filter_seen"):
            message = f"no input '{name[:100]}'; known: user_id, n, filter_seen"
            raise InvalidInput(message, location=("body", "inputs", index, "name"))
    order = list(inputs)
    users = _users(inputs, order, most=handler.max_users)
    counts = _counts(inputs, len(users), order)
    bulk = BulkRecommendRequest(user_ids=users, n=max(counts), filter_seen=_filter_seen(inputs, order))
    response = await handler.recommend_bulk(bulk)
    results: list[UserResult] = []
    for result in response.results:
        if isinstance(result, UserFailure):
            raise handler.failure(result)
        results.append(result)
    return Inferred(response.model.version, _items(results, counts))


def _items(results: Sequence[UserResult], wanted: Sequence[int]) -> list[Tensor]:
    """(N, longest list): what a shorter list lacks is empty, and `count` says how long each is."""
    lists = [result.items[:n] for result, n in zip(results, wanted, strict=True)]
    longest = max(len(items) for items in lists)
    shape = [len(lists), longest]
    ids = [items[k].item_id if k < len(items) else "" for items in lists for k in range(longest)]
    titles = [(items[k].title or "") if k < len(items) else "" for items in lists for k in range(longest)]
    scores = [items[k].score if k < len(items) else 0.0 for items in lists for k in range(longest)]
    return [
        text_tensor("item_id", [each.encode() for each in ids], shape),
        text_tensor("title", [each.encode() for each in titles], shape),
        Tensor("score", "FP32", np.array(scores, np.float32).reshape(shape)),
        Tensor("count", "INT32", np.array([len(items) for items in lists], np.int32)),
        text_tensor("reason", [(result.reason or "").encode() for result in results], [len(lists)]),
    ]


def _users(inputs: Mapping[str, Tensor], order: Sequence[str], *, most: int) -> list[str]:
    tensor = inputs.get("user_id")
    if (
        tensor is None
        or tensor.datatype != "BYTES"
        or tensor.shape not in ([len(tensor.values)], [len(tensor.values), 1])
    ):
        raise InvalidInput("a tensor 'user_id', BYTES (N), is required", location=("body", "inputs"))
    at = ("body", "inputs", order.index("user_id"), "data")
    if len(tensor.values) > most:
        raise InvalidInput(f"1 to {most} users may be requested at a time, not {len(tensor.values)}", location=at)
    users = [text_of(each, (*at, row)) or "" for row, each in enumerate(tensor.values.ravel())]
    if bad := [row for row, user in enumerate(users) if not 1 <= len(user) <= 256]:
        raise InvalidInput("an id has 1 to 256 characters", location=(*at, bad[0]))
    if not users:
        raise InvalidInput("at least one user is required", location=at)
    return users


def _counts(inputs: Mapping[str, Tensor], users: int, order: Sequence[str]) -> list[int]:
    tensor = inputs.get("n")
    if tensor is None:
        return [10] * users
    at = ("body", "inputs", order.index("n"))
    if not tensor.datatype.startswith(("INT", "UINT")) or tensor.values.size not in (1, users):
        raise InvalidInput("'n' has to be INT32 (1), or (N) for each user", location=(*at, "shape"))
    counts: list[int] = tensor.values.ravel().tolist()
    if not all(1 <= count <= MAX_ITEMS for count in counts):
        raise InvalidInput(f"1 to {MAX_ITEMS} items may be requested", location=(*at, "data"))
    return counts * users if len(counts) == 1 else counts


def _filter_seen(inputs: Mapping[str, Tensor], order: Sequence[str]) -> bool:
    tensor = inputs.get("filter_seen")
    if tensor is None:
        return True
    if tensor.datatype != "BOOL" or tensor.values.size != 1:
        where = ("body", "inputs", order.index("filter_seen"), "shape")
        raise InvalidInput("'filter_seen' has to be BOOL (1)", location=where)
    return bool(tensor.values.ravel()[0])
