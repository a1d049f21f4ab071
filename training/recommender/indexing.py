"""Approximate indexes for what is saved, where the catalogue is large. Knows algorithms, no data."""

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
    """Give an index to each factor model of at least so many items; what the card says of it.

    Without faiss, and where an index would be no gain, it is served exactly, and a line says so.
    """
    told: dict[str, Scalar] = {}
    for name, algorithm in algorithms.items():
        if not isinstance(algorithm, Factors) or algorithm.dataset_.items < items_from:
            continue
        factors = algorithm.user_factors_
        users = factors[np.linspace(0, len(factors) - 1, min(_USERS, len(factors))).astype(np.int64)]
        try:
            with step(f"indexing the items of {name}"):
                index = ApproximateIndex.build(algorithm.item_factors_, algorithm.item_biases_, users)
        except ImportError:
            console.print("  faiss is not installed, so it is served exactly; pip install '.[scale]'", markup=False)
            continue
        if index is None:
            console.print(
                f"  no recall of {TARGET_RECALL:g} with less effort than looking at all items: served exactly"
            )
            continue
        algorithm.index_ = index
        told[f"{name}.index recall@{RECALL_AT}"] = round(index.settings.recall, 4)
        told[f"{name}.index probes"] = index.settings.probes
    return told
