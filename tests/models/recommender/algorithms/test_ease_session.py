from __future__ import annotations

import dataclasses

import numpy as np

from models.recommender.algorithms.ease import Ease, EaseParams
from models.recommender.algorithms.ease_session import EaseSession, EaseSessionParams
from models.recommender.dataset.dataset import from_triplets


def test_items_of_one_session_have_higher_weights() -> None:
    """All users have the items 0, 1 and 2: 0 and 1 within a minute, 2 a year later."""
    users, items = np.divmod(np.arange(30), 3)
    times = np.tile([0, 30, 31_536_000], 10)
    fitted = EaseSession().fit(from_triplets(users, items, shape=(10, 4), times=times))
    assert fitted.weights_[0, 1] > 2 * fitted.weights_[0, 2] > 0
    assert fitted.weights_[0, 3] == 0


def test_without_times_it_is_plain_ease() -> None:
    random = np.random.default_rng(0)
    users, items = np.nonzero(random.random((40, 15)) < 0.3)
    dataset = from_triplets(users, items, shape=(40, 15))
    plain = Ease(EaseParams(l2=5.0)).fit(dataset)
    session = EaseSession(EaseSessionParams(l2=5.0)).fit(dataset)
    np.testing.assert_allclose(session.weights_, plain.weights_, atol=1e-6)
    timed = dataclasses.replace(dataset, times=random.integers(0, 10**6, len(users)))
    assert not np.allclose(EaseSession(EaseSessionParams(l2=5.0)).fit(timed).weights_, plain.weights_)
