"""Tests of joining feedback to a corpus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from models.errors import FeedbackUnavailable
from models.recommender.dataset.dataset import from_triplets
from models.recommender.dataset.encoding import Encoder
from models.recommender.events import LoggedEvent, NewEvent
from models.recommender.feedback_log import FeedbackLog
from training.recommender.feedback import existing_url, read_feedback, with_feedback
from training.recommender.interactions import Corpus


def corpus() -> Corpus:
    dataset = from_triplets(
        np.array([0, 0, 1]),
        np.array([0, 1, 1]),
        shape=(2, 2),
        weights=np.array([1, 3, 1], np.float32),
        times=np.array([10, 20, 30]),
        ratings=np.array([2, 4, 3], np.float32),
        user_features=sparse.csr_array(np.eye(2, dtype=np.float32)),
    )
    return Corpus(dataset, ("a", "b"), ("x", "y"), ("X", "Y"), Encoder(()), Encoder(()))


def logged(
    position: int, user: str, item: str, kind: str = "like", value: float | None = None, time: float = 100
) -> LoggedEvent:
    return LoggedEvent(user, item, kind, value, time, str(position), position, time)


def test_events_add_interactions_users_and_items() -> None:
    joined = with_feedback(corpus(), [logged(1, "b", "x"), logged(2, "new", "y"), logged(3, "a", "fresh", "rating", 5)])

    assert joined.user_ids == ("a", "b", "new")
    assert joined.item_ids == ("x", "y", "fresh")
    assert joined.titles == ("X", "Y", "")
    assert joined.dataset.interactions.toarray().tolist() == [[1, 3, 1], [1, 1, 0], [0, 1, 0]]
    assert joined.dataset.ratings is not None
    assert joined.dataset.ratings.tolist() == [2, 4, 5, 3, 3, 3]
    assert joined.dataset.user_features is not None
    assert joined.dataset.user_features.toarray().tolist() == [[1, 0], [0, 1], [0, 0]]


def test_the_latest_event_of_a_pair_decides() -> None:
    events = [logged(1, "b", "x", time=5), logged(2, "b", "x", "hide", time=9), logged(3, "new", "x", "hide", time=1)]
    joined = with_feedback(corpus(), [*events, logged(4, "new", "x", time=2)])
    assert joined.dataset.interactions.toarray().tolist() == [[1, 3], [0, 1], [1, 0]]


def test_negative_events_remove_interactions() -> None:
    events = [logged(1, "a", "y", "dislike"), logged(2, "b", "y", "dislike", time=50), logged(3, "b", "y", time=60)]
    # Hidden before the interaction.
    events += [logged(4, "a", "x", "hide", time=9), logged(5, "nobody", "y", "hide"), logged(6, "a", "none", "hide")]
    joined = with_feedback(corpus(), events)
    assert (joined.user_ids, joined.item_ids) == (("a", "b"), ("x", "y"))
    assert joined.dataset.interactions.toarray().tolist() == [[1, 0], [0, 1]]
    assert joined.dataset.times is not None
    assert joined.dataset.ratings is not None
    assert (joined.dataset.times.tolist(), joined.dataset.ratings.tolist()) == ([10, 60], [2, 2.5])


def test_a_later_interaction_overrides_an_older_event() -> None:
    older = [logged(1, "a", "y", "rating", 1.0, time=19.9), logged(2, "b", "y", time=29)]
    joined = with_feedback(corpus(), older).dataset
    assert joined.times is not None
    assert joined.ratings is not None
    assert (joined.times.tolist(), joined.ratings.tolist()) == ([10, 20, 30], [2, 4, 3])
    assert joined.interactions.toarray().tolist() == [[1, 3], [0, 1]]


def test_an_event_overrides_an_interaction_of_the_same_second() -> None:
    joined = with_feedback(
        corpus(), [logged(1, "a", "y", "rating", 1.0, time=20), logged(2, "b", "y", "hide", time=30)]
    )
    assert joined.dataset.interactions.toarray().tolist() == [[1, 3], [0, 0]]
    assert joined.dataset.ratings is not None
    assert joined.dataset.ratings.tolist() == [2, 1]


def test_an_event_replaces_an_interaction_without_a_time() -> None:
    timeless = replace(corpus(), dataset=replace(corpus().dataset, times=None))
    joined = with_feedback(timeless, [logged(1, "a", "y", "rating", 1.0, time=1)]).dataset
    assert joined.interactions.toarray().tolist() == [[1, 3], [0, 1]]
    assert joined.ratings is not None
    assert joined.ratings.tolist() == [2, 1, 3]


def test_without_times_every_negative_event_removes_its_interaction() -> None:
    timeless = replace(corpus(), dataset=replace(corpus().dataset, times=None))
    joined = with_feedback(timeless, [logged(1, "a", "x", "hide", time=9)])
    assert joined.dataset.interactions.toarray().tolist() == [[0, 3], [0, 1]]


def test_an_event_for_a_stored_interaction_changes_its_time_and_not_its_weight() -> None:
    joined = with_feedback(corpus(), [logged(1, "a", "y", "rating", 1.0, time=99)])
    assert joined.dataset.interactions.toarray().tolist() == [[1, 3], [0, 1]]
    assert joined.dataset.times is not None
    assert joined.dataset.times.tolist() == [10, 99, 30]


def test_no_events_change_nothing() -> None:
    joined = with_feedback(corpus(), [])
    assert joined.dataset.interactions.toarray().tolist() == [[1, 3], [0, 1]]


def test_the_log_is_the_configured_or_the_existing_default_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    assert existing_url("postgresql://host/db") == "postgresql://host/db"
    assert existing_url(None) is None
    log = FeedbackLog(f"sqlite:///{tmp_path}/makunouchi/feedback.db")
    log.append([[NewEvent("a", "x", "like", None, 100, "1")]])
    log.close()
    url = existing_url(None)
    assert url is not None
    assert [each.user_id for each in read_feedback(url)] == ["a"]


def test_a_missing_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FeedbackUnavailable, match=r"there is no feedback log '.*typo\.db'"):
        read_feedback(f"sqlite:///{tmp_path / 'typo.db'}")
    assert list(tmp_path.iterdir()) == []
