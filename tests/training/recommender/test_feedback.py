from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from models.errors import FeedbackUnavailable
from models.recommender.dataset.dataset import from_triplets
from models.recommender.dataset.encoding import Encoder
from models.recommender.events import LoggedEvent
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
    return LoggedEvent(position, user, item, kind, value, time, str(position), time)


def test_events_add_interactions_users_and_items() -> None:
    made = with_feedback(corpus(), [logged(1, "b", "x"), logged(2, "new", "y"), logged(3, "a", "fresh", "rating", 5)])

    assert made.user_ids == ("a", "b", "new")
    assert made.item_ids == ("x", "y", "fresh")
    assert made.titles == ("X", "Y", "")
    assert made.dataset.interactions.toarray().tolist() == [[1, 3, 1], [1, 1, 0], [0, 1, 0]]
    assert made.dataset.ratings is not None
    assert made.dataset.ratings.tolist() == [2, 4, 5, 3, 3, 3]
    assert made.dataset.user_features is not None
    assert made.dataset.user_features.toarray().tolist() == [[1, 0], [0, 1], [0, 0]]


def test_the_latest_event_of_a_pair_decides() -> None:
    events = [logged(1, "b", "x", time=5), logged(2, "b", "x", "hide", time=9), logged(3, "new", "x", "hide", time=1)]
    made = with_feedback(corpus(), [*events, logged(4, "new", "x", time=2)])
    assert made.dataset.interactions.toarray().tolist() == [[1, 3], [0, 1], [1, 0]]


def test_what_a_user_turned_down_is_taken_out() -> None:
    events = [logged(1, "a", "y", "dislike"), logged(2, "b", "y", "dislike", time=50), logged(3, "b", "y", time=60)]
    # Turned down before it was taken.
    events += [logged(4, "a", "x", "hide", time=9), logged(5, "nobody", "y", "hide"), logged(6, "a", "none", "hide")]
    made = with_feedback(corpus(), events)
    assert (made.user_ids, made.item_ids) == (("a", "b"), ("x", "y"))
    assert made.dataset.interactions.toarray().tolist() == [[1, 0], [0, 1]]
    assert made.dataset.times is not None
    assert made.dataset.ratings is not None
    assert (made.dataset.times.tolist(), made.dataset.ratings.tolist()) == ([10, 60], [2, 2.5])


def test_what_the_data_holds_of_a_later_time_outlasts_an_older_event() -> None:
    older = [logged(1, "a", "y", "rating", 1.0, time=19.9), logged(2, "b", "y", time=29)]
    made = with_feedback(corpus(), older).dataset
    assert made.times is not None
    assert made.ratings is not None
    assert (made.times.tolist(), made.ratings.tolist()) == ([10, 20, 30], [2, 4, 3])
    assert made.interactions.toarray().tolist() == [[1, 3], [0, 1]]


def test_of_an_event_and_an_interaction_at_the_same_second_the_event_counts() -> None:
    made = with_feedback(corpus(), [logged(1, "a", "y", "rating", 1.0, time=20), logged(2, "b", "y", "hide", time=30)])
    assert made.dataset.interactions.toarray().tolist() == [[1, 3], [0, 0]]
    assert made.dataset.ratings is not None
    assert made.dataset.ratings.tolist() == [2, 1]


def test_an_event_takes_the_place_of_an_interaction_without_a_time() -> None:
    timeless = replace(corpus(), dataset=replace(corpus().dataset, times=None))
    made = with_feedback(timeless, [logged(1, "a", "y", "rating", 1.0, time=1)]).dataset
    assert made.interactions.toarray().tolist() == [[1, 3], [0, 1]]
    assert made.ratings is not None
    assert made.ratings.tolist() == [2, 1, 3]


def test_without_times_whatever_was_turned_down_is_taken_out() -> None:
    timeless = replace(corpus(), dataset=replace(corpus().dataset, times=None))
    made = with_feedback(timeless, [logged(1, "a", "x", "hide", time=9)])
    assert made.dataset.interactions.toarray().tolist() == [[0, 3], [0, 1]]


def test_an_event_about_what_is_known_adds_no_weight_and_gives_its_time() -> None:
    made = with_feedback(corpus(), [logged(1, "a", "y", "rating", 1.0, time=99)])
    assert made.dataset.interactions.toarray().tolist() == [[1, 3], [0, 1]]
    assert made.dataset.times is not None
    assert made.dataset.times.tolist() == [10, 99, 30]


def test_no_events_change_nothing() -> None:
    made = with_feedback(corpus(), [])
    assert made.dataset.interactions.toarray().tolist() == [[1, 3], [0, 1]]


def test_the_log_is_that_of_the_setting_or_the_default_one_where_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    assert existing_url("postgresql://host/db") == "postgresql://host/db"
    assert existing_url(None) is None
    log = FeedbackLog(f"sqlite:///{tmp_path}/makunouchi/feedback.db")
    log.append([logged(1, "a", "x")])
    log.close()
    url = existing_url(None)
    assert url is not None
    assert [each.user_id for each in read_feedback(url)] == ["a"]


def test_a_log_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FeedbackUnavailable, match=r"there is no feedback log '.*typo\.db'"):
        read_feedback(f"sqlite:///{tmp_path / 'typo.db'}")
    assert list(tmp_path.iterdir()) == []
