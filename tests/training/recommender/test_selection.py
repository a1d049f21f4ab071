"""Tests of the choice of algorithms: the default list adapts to the data, and a named algorithm is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from models.errors import DataInvalid
from models.recommender.algorithms.ease import EaseParams
from models.recommender.dataset.dataset import Dataset
from models.recommender.ranking.two_stage import TwoStageParams
from models.recommender.registry import ALGORITHMS
from tests.models.recommender.checkerboard import ITEMS, dataset
from training.recommender.params import Params
from training.recommender.selection import choose

MOST = EaseParams().max_items


def catalogue(items: int) -> Dataset:
    """Return two users with a catalogue of this size, and one attribute of each item."""
    features = sparse.csr_array(np.ones((items, 1), np.float32))
    return dataset([(0, 0), (0, 1), (1, 0)], (2, items), item_features=features)


def test_by_default_all_algorithms_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = choose(Params(), catalogue(ITEMS))
    assert set(chosen) == set(ALGORITHMS.names())
    assert next(iter(chosen)) == "two-level"
    assert capsys.readouterr().err == ""


def test_without_attributes_content_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = choose(Params(), replace(catalogue(ITEMS), item_features=None))
    assert set(ALGORITHMS.names()) - set(chosen) == {"content", "content-knn"}
    assert "content is left out: it needs attributes of items; give --items to have it" in capsys.readouterr().err


def test_dense_algorithms_are_left_out_of_a_large_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = choose(Params(), catalogue(MOST + 1))
    assert set(ALGORITHMS.names()) - set(chosen) == {"ease", "ease-session"}
    assert chosen["two-level"].params.retrievers == ("lightfm-warp", "als")
    printed = capsys.readouterr().err
    assert f"ease is left out: it needs 6 GiB for a dense matrix of {MOST + 1:,} items" in printed
    assert "two-level has the retrievers lightfm-warp and als, without ease-session, which needs 6 GiB" in printed


def test_the_remedies_that_the_messages_name_work() -> None:
    large = catalogue(MOST + 1)
    with pytest.raises(DataInvalid, match=r"ease needs .*; give --set ease\.max_items=20001, or leave it out"):
        choose(Params(algorithms=("ease", "als")), large)
    assert list(choose(Params(algorithms=("als", "two-level")), large)) == ["als", "two-level"]
    raised = Params(algorithms=("ease", "als"), set=(f"ease.max_items={MOST + 1}",))
    assert list(choose(raised, large)) == ["ease", "als"]


@pytest.mark.parametrize("retrievers", ["ease+als", "ease-session"])
def test_named_retrievers_are_refused(retrievers: str) -> None:
    params = Params(algorithms=("two-level",), set=(f"two-level.retrievers={retrievers}",))
    assert choose(params, catalogue(MOST))["two-level"].params.retrievers != TwoStageParams().retrievers
    remedy = r"give --set two-level\.settings=ease(-session)?\.max_items=20001, or choose others"
    with pytest.raises(DataInvalid, match=rf"a retriever of two-level, needs 6 GiB .*; {remedy}"):
        choose(params, catalogue(MOST + 1))
    owner = retrievers.partition("+")[0]
    raised = replace(params, set=(*params.set, f"two-level.settings={owner}.max_items={MOST + 1}"))
    assert choose(raised, catalogue(MOST + 1))["two-level"].params.retrievers == tuple(retrievers.split("+"))
