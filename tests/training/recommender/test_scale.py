"""Tests of training on synthetic interactions."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import DataInvalid
from training.recommender.scale import Params, main, skewed_interactions

_SMALL = Params(users=600, items=300, interactions=20_000, factors=8, epochs=2, threads=1)


def test_few_users_and_items_have_most_of_the_interactions() -> None:
    dataset = skewed_interactions(2_000, 3_000, 100_000, seed=1)
    assert dataset.interactions.nnz == pytest.approx(100_000, rel=0.01)
    assert dataset.interactions.has_canonical_format
    for counts in (dataset.activity(), dataset.popularity()):
        ordered = np.sort(counts)[::-1]
        assert ordered[: len(ordered) // 10].sum() > 0.35 * ordered.sum()


def test_the_same_seed_gives_the_same_interactions() -> None:
    first, second = (skewed_interactions(200, 100, 2_000, seed=4).interactions for _ in range(2))
    assert (first != second).nnz == 0


@pytest.mark.parametrize("algorithm", ["als", "lightfm-warp"])
def test_each_epoch_prints_a_line_and_the_model_learns(algorithm: str, capsys: pytest.CaptureFixture[str]) -> None:
    measurements = main(Params(**{**vars(_SMALL), "algorithm": algorithm}))
    printed = capsys.readouterr().err
    assert f"{algorithm}  epoch 1/2" in printed
    assert f"{algorithm}  epoch 2/2" in printed
    assert measurements["ndcg@10"] > 0.03
    assert measurements["peak_gib"] > 0


def test_nothing_to_make_is_refused() -> None:
    with pytest.raises(DataInvalid, match="at least 2"):
        main(Params(users=1))
