"""The recipe of the default text classifier."""

from __future__ import annotations

from training.recipes import Recipe

RECIPE = Recipe(number=1, default_data="sentences in 22 languages", is_default=False)
