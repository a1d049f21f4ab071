"""Asks the recommender's runner one question that is not a recommendation. Knows JSON and errors, no HTTP."""

from __future__ import annotations

from typing import Any

from models.errors import InvalidInput, NotKnown, PredictionFailed
from serving.kinds.recommender.handler import ask_chosen
from serving.kinds.served_models import ServedRecommender
from serving.runners.interface import ModelRef

Json = dict[str, Any]  # Any: JSON, checked by the type of the answer


async def ask(served: ServedRecommender, question: Json, *, timeout_s: float) -> tuple[Json, ModelRef]:
    """What the runner found, and the model that was asked.

    Raises NotKnown and InvalidInput with the location of the fault, and what `QueryRunner.ask` raises.
    """
    asked = {name: value for name, value in question.items() if value is not None}
    answered = await ask_chosen(served, [asked], user_id=str(asked.get("user_id", "")), timeout_s=timeout_s)
    answer = answered.values[0] if answered.values else {}
    if isinstance(answer.get("found"), dict):
        return answer["found"], answered.model
    message, kind = str(answer.get("error", "no answer")), answer.get("error_kind")
    parts = tuple(answer.get("location", ()))
    location = parts if parts[:1] == ("path",) else ("query", *parts)
    if kind == "unknown":
        raise NotKnown(message, location=location)
    if kind == "invalid":
        raise InvalidInput(message, location=location)
    raise PredictionFailed(message)
