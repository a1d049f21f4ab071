"""Join the feedback that the service has collected to a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.errors import FeedbackUnavailable
from models.recommender.dataset.dataset import Dataset, Rows, csr, filter_interactions, from_triplets, stored_rows
from models.recommender.events import NEGATIVE_KINDS, LoggedEvent
from models.recommender.feedback_database import sqlite_file
from models.recommender.feedback_log import FeedbackLog, default_url
from training.recommender.interactions import Corpus

_RATING = "rating"


def read_feedback(url: str) -> list[LoggedEvent]:
    """Return every event of the log at `url`, in order. Raises FeedbackUnavailable, also for a missing log."""
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise FeedbackUnavailable(f"there is no feedback log '{file}'; give the service's MAKUNOUCHI_FEEDBACK_URL")
    log = FeedbackLog(url)
    try:
        return list(log.read_all())
    finally:
        log.close()


def existing_url(configured: str | None) -> str | None:
    """Return the configured log, or the default log if a service has written it, or None."""
    if configured:
        return configured
    file = sqlite_file(default_url())
    return default_url() if file is not None and file.is_file() else None


def with_feedback(corpus: Corpus, events: Sequence[LoggedEvent]) -> Corpus:
    """Return the corpus with positive events added, and with the users and items that only events name.

    For one user and item the latest record counts, event or interaction. In the same second, and when the corpus has
    no times, the event wins. An event has the weight of one interaction, or of the interaction that it replaces. Its
    rating is its value if it is a rating, else the average of the corpus. A negative event removes the interaction; the
    user and the item stay.
    """
    decisive: dict[tuple[str, str], LoggedEvent] = {}
    for event in sorted(events, key=lambda event: (event.time, event.position)):
        decisive[event.user_id, event.item_id] = event
    latest = _not_outdated(corpus, list(decisive.values()))
    corpus = _without(corpus, [event for event in latest if event.kind in NEGATIVE_KINDS])
    positive = [event for event in latest if event.kind not in NEGATIVE_KINDS]
    users, user_rows = _extended(corpus.user_ids, [event.user_id for event in positive])
    items, item_rows = _extended(corpus.item_ids, [event.item_id for event in positive])
    return replace(
        corpus,
        dataset=_joined(corpus.dataset, positive, user_rows, item_rows, (len(users), len(items))),
        user_ids=users,
        item_ids=items,
        titles=corpus.titles + ("",) * (len(items) - len(corpus.titles)),
    )


def _not_outdated(corpus: Corpus, events: Sequence[LoggedEvent]) -> list[LoggedEvent]:
    """Return the events that no later interaction of the same user and item follows."""
    times = corpus.dataset.times
    if times is None:
        return list(events)
    pairs = zip(events, _positions(corpus, events).tolist(), strict=True)
    return [event for event, position in pairs if position < 0 or times[position] <= int(event.time)]


def _without(corpus: Corpus, negative: Sequence[LoggedEvent]) -> Corpus:
    """Return the corpus without the interactions of the users and items of these events."""
    remains = np.ones(corpus.dataset.interactions.nnz, bool)
    positions = _positions(corpus, negative)
    remains[positions[positions >= 0]] = False
    return corpus if remains.all() else replace(corpus, dataset=filter_interactions(corpus.dataset, remains))


def _positions(corpus: Corpus, events: Sequence[LoggedEvent]) -> Rows:
    """Return the position of the stored interaction of each event's user and item, or -1."""
    users = {id_: row for row, id_ in enumerate(corpus.user_ids)}
    items = {id_: row for row, id_ in enumerate(corpus.item_ids)}
    rows = np.array([users.get(event.user_id, -1) for event in events], np.int64)
    columns = np.array([items.get(event.item_id, -1) for event in events], np.int64)
    return _stored_positions(corpus.dataset, rows, columns)


def _stored_positions(dataset: Dataset, users: Rows, items: Rows) -> Rows:
    """Return the positions of the stored interactions of these users and items, or -1. Unknown rows are allowed."""
    matrix = dataset.interactions
    stored_keys = stored_rows(matrix) * dataset.items + matrix.indices
    keys = np.where((users >= 0) & (users < dataset.users), users, -1) * dataset.items + items
    keys[(items < 0) | (items >= dataset.items) | (keys < 0)] = -1
    positions = np.searchsorted(stored_keys, keys)
    is_stored = (positions < len(stored_keys)) & (keys >= 0)
    is_stored[is_stored] = stored_keys[positions[is_stored]] == keys[is_stored]
    return np.where(is_stored, positions, -1)


def _extended(known: tuple[str, ...], ids: Sequence[str]) -> tuple[tuple[str, ...], Rows]:
    """Return the known ids followed by new ones, and the row of each of `ids`."""
    rows = {id_: row for row, id_ in enumerate(known)}
    rows_of_ids = np.array([rows.setdefault(id_, len(rows)) for id_ in ids], np.int64)
    return tuple(rows), rows_of_ids


def _joined(old: Dataset, events: Sequence[LoggedEvent], users: Rows, items: Rows, shape: tuple[int, int]) -> Dataset:
    matrix = old.interactions
    rows = stored_rows(matrix)
    # An event replaces a stored interaction with its time and rating, and keeps its weight.
    positions = _stored_positions(old, users, items)
    is_stored = positions >= 0
    remains = np.ones(matrix.nnz, bool)
    remains[positions[is_stored]] = False
    weights = np.ones(len(users), np.float32)
    weights[is_stored] = matrix.data[positions[is_stored]]
    times = ratings = None
    if old.times is not None:
        times = np.concatenate((old.times[remains], np.array([int(event.time) for event in events], np.int64)))
    if old.ratings is not None:
        ratings = np.concatenate((old.ratings[remains], _ratings(events, old.ratings)))
    return from_triplets(
        np.concatenate((rows[remains], users)),
        np.concatenate((matrix.indices[remains].astype(np.int64), items)),
        shape=shape,
        weights=np.concatenate((matrix.data[remains], weights)),
        times=times,
        ratings=ratings,
        user_features=_with_rows(old.user_features, shape[0]),
        item_features=_with_rows(old.item_features, shape[1]),
        dated_users=old.dated_users,
        dated_items=old.dated_items,
    )


def _ratings(events: Sequence[LoggedEvent], known: NDArray[np.float32]) -> NDArray[np.float32]:
    average = float(known.mean()) if len(known) else 0.0
    values = [event.value if event.kind == _RATING and event.value is not None else average for event in events]
    return np.array(values, np.float32)


def _with_rows(features: sparse.csr_array | None, rows: int) -> sparse.csr_array | None:
    if features is None:
        return None
    added = np.full(rows - features.shape[0], features.indptr[-1], features.indptr.dtype)
    return csr(features.data, features.indices, np.concatenate((features.indptr, added)), (rows, features.shape[1]))
