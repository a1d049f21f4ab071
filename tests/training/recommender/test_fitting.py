"""Tests of fitting several algorithms: next to a two-level model each is the same as on its own."""

from __future__ import annotations

import numpy as np

from models.recommender.ranking.two_stage import TwoStage
from tests.models.recommender.checkerboard import USERS, checkerboard, make
from training.recommender.fitting import fit_all

NAMES = ("als", "two-level", "ease", "user-knn", "popular", "lightfm-warp")
RETRIEVERS = ("als", "lightfm-warp")


def test_each_algorithm_is_fitted_as_on_its_own() -> None:
    settings = ("als.factors=4", "als.alpha=10.0", "als.l2=1.0")
    unfitted = {name: make(name) for name in NAMES}
    unfitted["two-level"] = make("two-level", retrievers=RETRIEVERS, settings=settings)
    fitted = fit_all(unfitted, checkerboard())
    assert tuple(fitted) == NAMES
    users = np.arange(USERS)
    for name, each in unfitted.items():
        alone = type(each)(each.params).fit(checkerboard())
        np.testing.assert_allclose(fitted[name].score(users), alone.score(users), rtol=1e-4, atol=1e-5)
        assert not hasattr(each, "dataset_")
    two_level = fitted["two-level"]
    assert isinstance(two_level, TwoStage)
    # Retrievers with the same hyperparameters are not fitted twice; lightfm-warp has others here.
    assert two_level.retrievers_["als"] is fitted["als"]
    assert two_level.retrievers_["lightfm-warp"] is not fitted["lightfm-warp"]
