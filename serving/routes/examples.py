"""Examples of the OpenAPI document, taken from the cards of the served models."""

from __future__ import annotations

from models.card import Card

# A PNG of one red pixel.
RED_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQAY3Y2wAAAAAElFTkSuQmCC"


def user(card: Card) -> str:
    """Return a user of the training data, or "1" if the card has no example."""
    return next((str(column.example) for column in card.inputs if column.example is not None), "1")


def item(card: Card) -> str:
    """Return an item of the training data, or "50" if the card has no example."""
    return next((str(column.example) for column in card.outputs if column.example is not None), "50")
