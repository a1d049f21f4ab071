"""Queries about users and items that are not recommendations."""

from __future__ import annotations

from typing import Any

from models.errors import InvalidInput, NotKnown, PredictionFailed
from serving.kinds.recommender.version import RecommenderVersion
from serving.kinds.served_model import ServedModel
from serving.runners.interface import ModelRef, Payload

Json = dict[str, Any]  # Any: JSON, checked by the type of the response


async def ask(model: ServedModel[RecommenderVersion], query: Json) -> tuple[Json, ModelRef]:
    """Send one query, and return the result and the model that answered.

    Raises NotKnown and InvalidInput with the location of the fault, and as `ServedModel.call`.
    """
    payload = [{name: value for name, value in query.items() if value is not None}]

    async def encode(version: RecommenderVersion) -> Payload:
        return payload

    result = await model.call(encode, user_id=str(payload[0].get("user_id", "")))
    if result is None or not result.values:
        raise PredictionFailed("no answer")
    answer = result.values[0]
    if isinstance(answer.get("found"), dict):
        return answer["found"], result.model
    message, kind = str(answer.get("error", "no answer")), answer.get("error_kind")
    parts = tuple(answer.get("location", ()))
    location = parts if parts[:1] == ("path",) else ("query", *parts)
    if kind == "unknown":
        raise NotKnown(message, location=location)
    if kind == "invalid":
        raise InvalidInput(message, location=location)
    raise PredictionFailed(message)
