"""Gradient boosting splits category columns natively: one-hot columns of many words are slow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from training.tabular.boosting import Boosting, BoostingParams


def splits(node: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield the column and the comparison of every split below `node` of LightGBM's dump."""
    if "split_feature" in node:
        yield node["split_feature"], node["decision_type"]
        yield from splits(node["left_child"])
        yield from splits(node["right_child"])


def test_category_columns_are_split_by_sets_of_categories_and_numbers_by_thresholds() -> None:
    random = np.random.default_rng(5)
    words = random.integers(0, 95, 2_000)
    rows = np.column_stack([words, random.normal(0, 1, 2_000)])
    values = (words % 2 + rows[:, 1] > 0.5).astype(np.int64)

    model = Boosting(BoostingParams(20, 0.2, 8), classes=2, categories=(0,), seed=0, threads=1).fit(rows, values)

    trees = model.booster.dump_model()["tree_info"]
    assert {split for tree in trees for split in splits(tree["tree_structure"])} == {(0, "=="), (1, "<=")}
    assert ((model.scores(rows)[:, 0] > 0) == values).mean() > 0.9
