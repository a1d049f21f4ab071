"""Examples of users and items, taken from the card of the served model."""

from __future__ import annotations

from models.card import Card


def user(card: Card) -> str:
    """Return a user of the training data, where the card names one."""
    return next((str(column.example) for column in card.inputs if column.example is not None), "1")


def item(card: Card) -> str:
    """Return an item of the training data, where the card names one."""
    return next((str(column.example) for column in card.outputs if column.example is not None), "50")
