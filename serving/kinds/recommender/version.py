"""One version of a recommender in the gateway."""

from __future__ import annotations

from dataclasses import dataclass

from models.card import Card


@dataclass(frozen=True, slots=True)
class RecommenderVersion:
    """The card of a version. Queries and answers are the same for all versions."""

    card: Card
