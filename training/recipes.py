"""Which recipe makes each default model: raised when its artifact or card gains what serving tells or uses.

`python -m training` makes a default model anew when the one in the store is of an older recipe. What somebody trained
on data of their own is left alone. Knows cards, no data.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.card import Card

# Where a card keeps the number of its recipe; one without is of the first.
PARAMETER = "recipe"


@dataclass(frozen=True, slots=True)
class Recipe:
    """`data` is how the name of the default data begins, in the card."""

    number: int
    data: str


RECIPES = {
    # 2: the embedding is an output of the graph
    "image": Recipe(2, "ImageNet-1k"),
    # 2: precision and recall by class
    "tabular": Recipe(2, "german.csv"),
    # 2: two-level is served by default
    "recommender": Recipe(2, "MovieLens-100K"),
}


def noted(script: str) -> dict[str, int]:
    """The parameter that tells which recipe of a training script made a card."""
    return {PARAMETER: RECIPES[script].number}


def is_outdated(script: str, card: Card) -> bool:
    """Whether `card` is that of a default model, made by an older recipe than today's."""
    recipe, made_by = RECIPES[script], card.params.get(PARAMETER, 1)
    return card.data.name.startswith(recipe.data) and isinstance(made_by, int) and made_by < recipe.number
