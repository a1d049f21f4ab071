"""A small recommender: films of four genres, users with one genre each, features, groups. Fitted in milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from models.card import Card, Column, DataSource
from models.recommender.archive import Contents
from models.recommender.dataset.dataset import from_triplets
from models.recommender.dataset.encoding import Attribute, Encoder
from models.recommender.dataset.feature_store import FeatureStore
from models.recommender.dataset.feature_tables import (
    FeatureSnapshot,
    FeatureTable,
    NumberColumn,
    TextColumn,
    UserGroups,
)
from models.recommender.dataset.ids import IdIndex, StringArray
from models.recommender.events import Event
from models.recommender.online.dispatcher import Dispatcher
from models.recommender.online.predictor import Recommender
from models.recommender.online.recent_events import RecentEvents
from models.recommender.registry import ALGORITHMS
from models.store.artifacts import Artifact

GENRES = ("Comedy", "Drama", "Horror", "Musical")
USERS, ITEMS = 80, 120
DAY_S = 86_400
NEWEST = 1_700_000_000
# The users of the last two rows: one with features only, one without items and features.
FEATURED, BARE = "newcomer", "ghost"
NAMES = ("alice", "bob", "7", *(f"u{row}" for row in range(3, USERS)), FEATURED, BARE)
TITLES = {"1": "", "50": "Star Wars (1977)", "51": "Les Misérables (1995)", "52": "The Godfather (1972)"}


def event(user_id: str, item_id: str, kind: str = "like", time: float = 1.0) -> Event:
    """Return an event of a user."""
    return Event(user_id, item_id, kind, None, time, "")


def genre(user: int) -> int:
    """Return the genre that a user likes. Item i is of genre i % 4; users 0, 4, 8, ... like comedies."""
    return user % len(GENRES)


def seen(user: int) -> list[int]:
    """Return the items of a user: two thirds of a genre, and two others."""
    own = [item for item in range(ITEMS) if item % 4 == genre(user) and (item // 4 + user // 4) % 3]
    return sorted({*own, user % ITEMS, (user + 1) % ITEMS})


def contents(default: str = "ease") -> Contents:
    """Return the contents of an artifact with four fitted algorithms."""
    pairs = np.array([(user, item) for user in range(USERS) for item in seen(user)], np.int64)
    users, items = pairs.T
    genders = Attribute("gender", "category", values=("F", "M"))
    ages = Attribute("age", "number", edges=(30.0,))
    encoder = Encoder((genders, ages))
    rows = [_features(user) for user in range(USERS + 1)]
    kinds = Encoder((Attribute("genres", "tags", values=GENRES),))
    dataset = from_triplets(
        users,
        items,
        shape=(len(NAMES), ITEMS),
        times=NEWEST - (items * DAY_S),
        ratings=1 + (items % 5).astype(np.float32),
        user_features=encoder.encode([*rows, {}]),
        item_features=kinds.encode([{"genres": list(genres(item))} for item in range(ITEMS)]),
    )
    fitted = {name: ALGORITHMS.create(name).fit(dataset) for name in ("ease", "item-knn", "user-knn", "popular")}
    ids = [str(item + 1) for item in range(ITEMS)]
    titles = StringArray.of([TITLES.get(each, f"Item {each}") for each in ids])
    return Contents(IdIndex.of(NAMES), IdIndex.of(ids), titles, dataset, fitted, default, encoder, kinds)


def retrained(liked: str, *, without: str = "") -> Dispatcher:
    """Return a later version: 200 new users like one item, and another item is removed."""
    old = contents("popular")
    rows = [row for row in range(ITEMS) if old.items[row] != without]
    users, items = old.dataset.interactions[:, rows].nonzero()
    ids, names = [old.items[row] for row in rows], [*NAMES, *(f"newcomer {number}" for number in range(200))]
    users = np.concatenate((users, np.arange(len(NAMES), len(names))))
    items = np.concatenate((items, np.full(200, ids.index(liked))))
    dataset = from_triplets(users.astype(np.int64), items.astype(np.int64), shape=(len(names), len(ids)))
    fitted = {"popular": ALGORITHMS.create("popular").fit(dataset)}
    titles = StringArray.of([TITLES.get(each, f"Item {each}") for each in ids])
    new = Contents(IdIndex.of(names), IdIndex.of(ids), titles, dataset, fitted, "popular")
    return Dispatcher(Recommender(artifact(), new, features=feature_store()))


def feature_store() -> FeatureStore:
    """Return a store with the tables in memory."""
    store = FeatureStore(None)
    store._features = features()
    return store


def genres(item: int) -> tuple[str, ...]:
    """Return the genres of an item; every tenth item has two."""
    return (GENRES[item % 4], *((GENRES[(item + 1) % 4],) if item % 10 == 0 else ()))


def features() -> FeatureSnapshot:
    """Return tables of all users except the last, and all items."""
    rows = [_features(user) for user in range(USERS + 1)]
    users = FeatureTable(
        IdIndex.of(NAMES[:-1]),
        {
            "gender": _text_column([(str(row["gender"]),) for row in rows], is_list=False),
            "age": NumberColumn(np.array([float(row["age"]) for row in rows])),
        },
    )
    items = FeatureTable(
        IdIndex.of([str(item + 1) for item in range(ITEMS)]),
        {
            "release_year": NumberColumn(
                np.array([1950.0 + item % 60 if item != 5 else np.nan for item in range(ITEMS)])
            ),
            "genres": _text_column([genres(item) for item in range(ITEMS)], is_list=True),
        },
    )
    fans = tuple(tuple(name for user, name in enumerate(NAMES[:USERS]) if genre(user) == each) for each in range(4))
    groups = UserGroups(names=tuple(f"{name} club" for name in GENRES), kinds=("club",) * 4, members=fans)
    return FeatureSnapshot(users, items, groups, has_users=True)


def artifact() -> Artifact:
    """Return an artifact without files."""
    card = Card(
        name="recommender",
        task="recommendation",
        algorithm="ease",
        created=datetime(2026, 1, 2, tzinfo=UTC),
        inputs=(Column("user_id", "text", example="alice"),),
        outputs=(),
        metrics={},
        data=DataSource("films", "0" * 64, USERS),
    )
    return Artifact("recommender", "v1", Path("nowhere"), card)


def dispatcher(recent: RecentEvents | None = None, *, default: str = "ease") -> Dispatcher:
    """Return the dispatcher of the recommender."""
    store = feature_store()
    return Dispatcher(Recommender(artifact(), contents(default), features=store, recent=recent))


def _features(user: int) -> dict[str, str | int]:
    return {"gender": "FM"[user % 2], "age": 20 if user % 4 < 2 else 50}


def _text_column(rows: list[tuple[str, ...]], *, is_list: bool) -> TextColumn:
    vocabulary = tuple(dict.fromkeys(text for row in rows for text in row))
    codes = np.array([vocabulary.index(text) for row in rows for text in row], np.int32)
    ends = np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64)))
    return TextColumn(vocabulary, codes, ends, is_list)
