"""Live counts equal those of training on the same events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from models.recommender.algorithms.popularity import Popularity, PopularityParams
from models.recommender.events import LoggedEvent
from models.recommender.online.live_counts import LiveCounts
from models.recommender.online.recent_events import RecentEvents
from tests.models.recommender import film_library
from tests.models.recommender.film_library import DAY_S, ITEMS, NAMES, NEWEST, USERS, seen
from training.recommender.feedback import with_feedback
from training.recommender.interactions import Corpus

ITEM = 9
FANS = [name for row, name in enumerate(NAMES[:USERS]) if ITEM in seen(row)]


def event(user: str, item: int = ITEM, kind: str = "like", time: float = NEWEST + 1) -> LoggedEvent:
    return LoggedEvent(user, str(item + 1), kind, None, time, "", 0, time)


def live_counts(recent: RecentEvents, *, window_days: float = 0.0) -> LiveCounts:
    contents = film_library.contents()
    return LiveCounts(contents, Popularity(PopularityParams(window_days)).fit(contents.dataset), recent)


def difference(events: Sequence[LoggedEvent]) -> int:
    """Return the change of the count of ITEM by the events."""
    recent = RecentEvents()
    recent.add(events)
    return int(live_counts(recent).read().added[ITEM])


def test_a_share_is_of_all_users_including_new_ones() -> None:
    recent = RecentEvents()
    counts_now = live_counts(recent)
    recent.add(event(f"x{number}") for number in range(900))
    # A user with only a dislike is not counted; a user with an unknown item is.
    recent.add([event("y", kind="hide"), event("z", 5_000)])
    shares = counts_now.read().shares
    assert shares[ITEM] == pytest.approx((len(FANS) + 900) / (len(NAMES) + 901))
    assert (shares <= 1).all()

    recent.add(event(name) for name in NAMES)
    recent.add(event("z", each) for each in range(ITEMS))
    recent.add([event("z", 5_000, "hide", NEWEST + 2)])
    assert counts_now.read().shares[ITEM] == 1


def test_without_events_the_shares_are_those_of_the_artifact() -> None:
    counts_now = live_counts(RecentEvents())
    np.testing.assert_array_equal(counts_now.read().shares, Popularity().fit(film_library.contents().dataset).scores_)


@pytest.mark.parametrize(
    ("events", "changed"),
    [
        ([event("x")], 1),
        ([event("x"), event("x", kind="view", time=NEWEST + 2)], 1),
        ([event("x"), event("x", kind="dislike", time=NEWEST + 2)], 0),
        ([event("x"), event("x", kind="dislike", time=NEWEST)], 1),
        ([event("x", kind="dislike", time=NEWEST + 2), event("x")], 0),
        ([event("x", kind="dislike"), event("x", time=NEWEST + 2)], 1),
        ([event(FANS[0])], 0),
        ([event(FANS[0], kind="dislike")], -1),
        ([event(FANS[0], kind="dislike"), event(FANS[0], kind="hide", time=NEWEST + 2)], -1),
        ([event(FANS[0], kind="dislike"), event(FANS[0], time=NEWEST + 2)], 0),
        ([event(FANS[0], kind="dislike", time=0)], 0),
        ([event(FANS[0], kind="dislike", time=0), event(FANS[0], kind="hide")], -1),
        ([event(each, kind="dislike") for each in FANS], -len(FANS)),
    ],
)
def test_the_latest_event_decides_what_counts(events: list[LoggedEvent], changed: int) -> None:
    assert difference(events) == changed


def test_incremental_and_bulk_counts_equal_those_of_training() -> None:
    random = np.random.default_rng(0)
    contents = film_library.contents()
    users = [*NAMES, *(f"x{number}" for number in range(40))]
    events = [
        event(str(random.choice(users)), int(item), str(random.choice(["like", "view", "dislike"])), float(time))
        for item, time in zip(random.integers(0, ITEMS + 9, 3_000), random.permutation(3_000) + NEWEST, strict=True)
    ]
    recent = RecentEvents()
    step_by_step = live_counts(recent)
    for each in events:
        recent.add([each])
        step_by_step.read()
    corpus = Corpus(
        contents.dataset,
        NAMES,
        tuple(contents.items[row] for row in range(ITEMS)),
        ("",) * ITEMS,
        contents.user_encoder,
        contents.item_encoder,
    )
    trained = with_feedback(corpus, events).dataset
    for counts in (step_by_step.read(), live_counts(recent).read()):
        np.testing.assert_array_equal(counts.shares, Popularity().fit(trained).scores_[:ITEMS])
        np.testing.assert_array_equal(contents.dataset.popularity() + counts.added, trained.popularity()[:ITEMS])


def test_a_dislike_lowers_the_window_only_for_an_interaction_within_it() -> None:
    recent = RecentEvents()
    counts_now = live_counts(recent, window_days=5)
    before = counts_now.read().shares
    recent.add(
        [event(next(name for row, name in enumerate(NAMES) if item in seen(row)), item, "hide") for item in (2, 9)]
    )
    counts = counts_now.read()
    assert (before[2] - counts.shares[2]) * len(NAMES) == pytest.approx(1)
    assert before[9] == counts.shares[9] == 0
    assert counts.added[[2, 9]].tolist() == [-1, -1]
    assert [(each.row, each.change) for each in counts_now.changes] == [(2, -1), (9, -1)]
    assert counts_now.changes[0].time == NEWEST - 2 * DAY_S
