"""Approximate indexes for factor models with large catalogues."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.card import Scalar
from models.recommender.algorithms.ann_index import RECALL_AT, TARGET_RECALL, ApproximateIndex
from models.recommender.algorithms.factors import Factors
from models.recommender.registry import AnyAlgorithm
from training.report import console, step

_USERS = 1_000


def index_large(algorithms: Mapping[str, AnyAlgorithm], *, items_from: int) -> dict[str, Scalar]:
    """Add an index to each factor model with at least `items_from` items. Return the index parameters for the card.

    Without faiss, or when an index saves no work, the model is served exactly, and a line on the console says so.
    """
    parameters: dict[str, Scalar] = {}
    for name, algorithm in algorithms.items():
        if not isinstance(algorithm, Factors) or algorithm.dataset_.items < items_from:
            continue
        factors = algorithm.user_factors_
        users = factors[np.linspace(0, len(factors) - 1, min(_USERS, len(factors))).astype(np.int64)]
        try:
            with step(f"indexing the items of {name}"):
                index = ApproximateIndex.build(algorithm.item_factors_, algorithm.item_biases_, users)
        except ImportError:
            console.print(
                "  faiss is not installed, so the model is served exactly; pip install '.[scale]'", markup=False
            )
            continue
        if index is None:
            console.print(f"  an index with a recall of {TARGET_RECALL:g} saves no work: served exactly")
            continue
        algorithm.index_ = index
        parameters[f"{name}.index recall@{RECALL_AT}"] = round(index.settings.recall, 4)
        parameters[f"{name}.index probes"] = index.settings.probes
    return parameters
