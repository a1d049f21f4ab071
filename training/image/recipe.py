"""The recipe of the default image classifier."""

from __future__ import annotations

from training.recipes import Recipe

# 2: the embedding is an output of the graph.
RECIPE = Recipe(number=2, default_data="ImageNet-1k")
