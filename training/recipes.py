"""How each kind of model is trained by default, and which default models are out of date.

A kind takes part in `python -m training` when its folder `training/<kind>` has a module `recipe` with a constant
`RECIPE`. A recipe's number is raised when the artifact or the card of the default model gains something that serving
uses. A model that was trained on other data than the default is never out of date.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.card import Card

# The parameter of a card that holds the number of its recipe. A card without it was made by the first recipe.
PARAMETER = "recipe"

_MODULE = "recipe"


def _no_options() -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """The recipe of a kind's default model.

    `default_data`: the beginning of the name of the default data, as written in the card. `options`: returns the
    command line options to train with on this machine. `is_default`: whether `python -m training` trains the model when
    the store lacks it, because the service serves it by default.
    """

    number: int
    default_data: str
    options: Callable[[], Sequence[str]] = _no_options
    is_default: bool = True

    def card_parameters(self) -> dict[str, int]:
        """Return the parameter that records this recipe in a card."""
        return {PARAMETER: self.number}

    def is_outdated(self, card: Card) -> bool:
        """Return whether `card` describes the default model as made by an older recipe."""
        number = card.params.get(PARAMETER, 1)
        return card.data.name.startswith(self.default_data) and isinstance(number, int) and number < self.number


def default_recipes() -> dict[str, Recipe]:
    """Return the recipes of the default models, found in the folders of this package, ordered by kind."""
    kinds = sorted(path.parent.name for path in Path(__file__).parent.glob(f"*/{_MODULE}.py"))
    recipes = {kind: importlib.import_module(f"training.{kind}.{_MODULE}").RECIPE for kind in kinds}
    return {kind: recipe for kind, recipe in recipes.items() if recipe.is_default}
