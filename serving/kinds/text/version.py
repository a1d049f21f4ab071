"""One version of a text classifier in the gateway."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from models.card import Card
from models.errors import PredictionFailed
from serving.kinds.text.schemas import TextPredictions
from serving.runners.interface import ModelRef


@dataclass(frozen=True, slots=True)
class TextVersion:
    """The card of a version. Texts need no encoding."""

    card: Card

    def predictions(self, values: Sequence[Any], texts: int) -> list[dict[str, Any]]:
        """Return one JSON object per text from the answers of the runner. Raises PredictionFailed."""
        if len(values) != texts:
            raise PredictionFailed(f"{len(values)} answers for {texts} texts")
        return [self._prediction(value) for value in values]

    def _prediction(self, value: Any) -> dict[str, Any]:  # Any: JSON
        classes = self.card.classes
        try:
            shares = [float(share) for share in value["probabilities"]]
        except (TypeError, KeyError, ValueError) as error:
            raise PredictionFailed("the runner returned something that is not a list of probabilities") from error
        if len(shares) != len(classes) or not all(math.isfinite(share) for share in shares):
            raise PredictionFailed(f"{len(shares)} probabilities for {len(classes)} classes, or some are not finite")
        best = max(range(len(shares)), key=shares.__getitem__)
        rounded = [round(min(1.0, max(0.0, share)), 6) for share in shares]
        return {"prediction": classes[best], "probabilities": dict(zip(classes, rounded, strict=True))}


@dataclass(frozen=True, slots=True)
class Predictions:
    """The response to one request: one prediction per text, as JSON objects."""

    version: TextVersion
    model: ModelRef
    texts: list[dict[str, Any]]  # Any: JSON
    inference_time_ms: float

    def to_json(self) -> bytes:
        """Return the body of the response."""
        return orjson.dumps(self._content())

    def to_response(self) -> TextPredictions:
        """Return the response as its pydantic type."""
        return TextPredictions.model_validate(self._content())

    def _content(self) -> dict[str, Any]:
        return {
            "model": {"name": self.model.name, "version": self.model.version},
            "predictions": self.texts,
            "inference_time_ms": self.inference_time_ms,
        }
