"""Tests of approximate indexes of factor models."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from models.recommender.algorithms.factors import Factors
from models.recommender.dataset.dataset import from_triplets
from models.recommender.registry import ALGORITHMS
from tests.models.recommender.algorithms.test_ann_index import ITEMS, clusters
from training.recommender.indexing import index_large


@pytest.fixture
def als() -> Factors:  # type: ignore[type-arg]  # whatever its parameters
    """Return vectors in clusters, similar to trained ones."""
    fitted = ALGORITHMS.create("als")
    assert isinstance(fitted, Factors)
    fitted.item_factors_, fitted.item_biases_, fitted.user_factors_ = clusters()
    nothing = np.empty(0, np.int64)
    fitted.dataset_ = from_triplets(nothing, nothing, shape=(len(fitted.user_factors_), ITEMS))
    return fitted


def test_a_large_catalogue_is_indexed_and_the_card_says_how_well(als: Factors) -> None:  # type: ignore[type-arg]
    parameters = index_large({"als": als, "ease": ALGORITHMS.create("ease")}, items_from=ITEMS)
    assert als.index_ is not None
    assert parameters == {
        "als.index recall@10": round(als.index_.settings.recall, 4),
        "als.index probes": parameters["als.index probes"],
    }
    assert als.index_.settings.recall >= 0.99


def test_a_small_one_is_not(als: Factors) -> None:  # type: ignore[type-arg]
    assert index_large({"als": als}, items_from=ITEMS + 1) == {}
    assert als.index_ is None


def test_without_faiss_it_is_served_exactly_and_said(
    als: Factors,  # type: ignore[type-arg]
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert index_large({"als": als}, items_from=1) == {}
    assert als.index_ is None
    assert "pip install '.[scale]'" in capsys.readouterr().err
