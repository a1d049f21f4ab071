"""Feedback that the running service collected, joined to a data set. Knows events and rows, no algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from models.errors import FeedbackUnavailable
from models.recommender.dataset.dataset import Dataset, Rows, csr, filter_interactions, from_triplets, stored_rows
from models.recommender.events import NEGATIVE_KINDS, LoggedEvent
from models.recommender.feedback_log import FeedbackLog, default_url, sqlite_file
from training.recommender.interactions import Corpus

_RATING = "rating"


def read_feedback(url: str) -> list[LoggedEvent]:
    """Every event of the log behind `url`, in order. Raises FeedbackUnavailable, also where no service wrote any."""
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise FeedbackUnavailable(f"there is no feedback log '{file}'; name the service's, its MAKUNOUCHI_FEEDBACK_URL")
    log = FeedbackLog(url)
    try:
        return list(log.read_all())
    finally:
        log.close()


def existing_url(configured: str | None) -> str | None:
    """The configured log; without one, the default when a service has written it; else None."""
    if configured:
        return configured
    file = sqlite_file(default_url())
    return default_url() if file is not None and file.is_file() else None


def with_feedback(corpus: Corpus, events: Sequence[LoggedEvent]) -> Corpus:
    """The corpus with the events that show interest, and the users and items that only they name.

    Of all that is known of a user and an item the latest counts, be it an event or an interaction of the corpus; of
    two at the same second the event, and always the event where the corpus has no times. An event counts like one
    interaction, or as much as the one it takes the place of; its rating is its value where it is a rating, else the
    average of the corpus. What a user turned down is taken out of the corpus; the user and the item stay.
    """
    decisive: dict[tuple[str, str], LoggedEvent] = {}
    for event in sorted(events, key=lambda each: (each.time, each.position)):
        decisive[event.user_id, event.item_id] = event
    latest = _not_outdated(corpus, list(decisive.values()))
    corpus = _without(corpus, [event for event in latest if event.kind in NEGATIVE_KINDS])
    kept = [event for event in latest if event.kind not in NEGATIVE_KINDS]
    users, user_rows = _extended(corpus.user_ids, [event.user_id for event in kept])
    items, item_rows = _extended(corpus.item_ids, [event.item_id for event in kept])
    return replace(
        corpus,
        dataset=_joined(corpus.dataset, kept, user_rows, item_rows, (len(users), len(items))),
        user_ids=users,
        item_ids=items,
        titles=corpus.titles + ("",) * (len(items) - len(corpus.titles)),
    )


def _not_outdated(corpus: Corpus, events: Sequence[LoggedEvent]) -> list[LoggedEvent]:
    """The events after which the corpus holds no interaction of the same user and item."""
    times = corpus.dataset.times
    if times is None:
        return list(events)
    pairs = zip(events, _places(corpus, events).tolist(), strict=True)
    return [event for event, place in pairs if place < 0 or times[place] <= int(event.time)]


def _without(corpus: Corpus, turned_down: Sequence[LoggedEvent]) -> Corpus:
    """The corpus without the interactions of the users and items of these events."""
    stays = np.ones(corpus.dataset.interactions.nnz, bool)
    places = _places(corpus, turned_down)
    stays[places[places >= 0]] = False
    return corpus if stays.all() else replace(corpus, dataset=filter_interactions(corpus.dataset, stays))


def _places(corpus: Corpus, events: Sequence[LoggedEvent]) -> Rows:
    """Where the corpus stores the interaction of each event's user and item, -1 where it has none."""
    users = {each: row for row, each in enumerate(corpus.user_ids)}
    items = {each: row for row, each in enumerate(corpus.item_ids)}
    rows = np.array([users.get(event.user_id, -1) for event in events], np.int64)
    columns = np.array([items.get(event.item_id, -1) for event in events], np.int64)
    return _stored(corpus.dataset, rows, columns)


def _stored(dataset: Dataset, users: Rows, items: Rows) -> Rows:
    """Where the interactions of these users and items are stored, -1 where they are not; rows may be unknown."""
    matrix = dataset.interactions
    stored = stored_rows(matrix) * dataset.items + matrix.indices
    wanted = np.where((users >= 0) & (users < dataset.users), users, -1) * dataset.items + items
    wanted[(items < 0) | (items >= dataset.items) | (wanted < 0)] = -1
    places = np.searchsorted(stored, wanted)
    is_stored = (places < len(stored)) & (wanted >= 0)
    is_stored[is_stored] = stored[places[is_stored]] == wanted[is_stored]
    return np.where(is_stored, places, -1)


def _extended(known: tuple[str, ...], wanted: Sequence[str]) -> tuple[tuple[str, ...], Rows]:
    rows = {each: row for row, each in enumerate(known)}
    found = np.array([rows.setdefault(each, len(rows)) for each in wanted], np.int64)
    return tuple(rows), found


def _joined(old: Dataset, events: Sequence[LoggedEvent], users: Rows, items: Rows, shape: tuple[int, int]) -> Dataset:
    matrix = old.interactions
    rows = stored_rows(matrix)
    # An event about what the data holds already changes its time and rating, and adds no weight.
    places = _stored(old, users, items)
    is_held = places >= 0
    stays = np.ones(matrix.nnz, bool)
    stays[places[is_held]] = False
    weights = np.ones(len(users), np.float32)
    weights[is_held] = matrix.data[places[is_held]]
    times = ratings = None
    if old.times is not None:
        times = np.concatenate((old.times[stays], np.array([int(each.time) for each in events], np.int64)))
    if old.ratings is not None:
        usual = float(old.ratings.mean()) if len(old.ratings) else 0.0
        given = [each.value if each.kind == _RATING and each.value is not None else usual for each in events]
        ratings = np.concatenate((old.ratings[stays], np.array(given, np.float32)))
    return from_triplets(
        np.concatenate((rows[stays], users)),
        np.concatenate((matrix.indices[stays].astype(np.int64), items)),
        shape=shape,
        weights=np.concatenate((matrix.data[stays], weights)),
        times=times,
        ratings=ratings,
        user_features=_taller(old.user_features, shape[0]),
        item_features=_taller(old.item_features, shape[1]),
        dated_users=old.dated_users,
        dated_items=old.dated_items,
    )


def _taller(features: sparse.csr_array | None, rows: int) -> sparse.csr_array | None:
    if features is None:
        return None
    more = np.full(rows - features.shape[0], features.indptr[-1], features.indptr.dtype)
    return csr(features.data, features.indices, np.concatenate((features.indptr, more)), (rows, features.shape[1]))
