"""Similar users, group suggestions and user profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import NotKnown
from models.recommender.algorithms.top_k import PADDING, select_top_k
from models.recommender.dataset.dataset import Dataset
from models.recommender.dataset.feature_tables import UserGroups
from models.recommender.dataset.feature_value import FeatureValue
from models.recommender.online.state import RecommenderState

# The number of neighbours whose memberships count.
_NEIGHBOURS = 50
# Additive smoothing by this number of average neighbours.
_PRIOR = 5.0
OVERLAP = "overlap"


@dataclass(frozen=True, slots=True)
class UserNeighbour:
    """A user and their similarity, comparable only within one response."""

    user_id: str
    score: float


@dataclass(frozen=True, slots=True)
class SuggestedGroup:
    """A group; `score` is the share of members among similar users relative to that among all users."""

    group: str
    kind: str
    members: int
    is_member: bool
    score: float


@dataclass(frozen=True, slots=True)
class UserItem:
    """An item of a user, with its rating and time (Unix seconds) if known."""

    item_id: str
    title: str
    rating: float | None
    time: int | None


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """A category, and the number and share of a user's items in it."""

    category: str
    items: int
    share: float


@dataclass(frozen=True, slots=True)
class UserProfile:
    """The data on one user. `features` is None without a row in the feature store."""

    user_id: str
    in_training: bool
    features: Mapping[str, FeatureValue] | None
    interactions: int
    recent_interactions: int
    top_items: tuple[UserItem, ...]
    top_categories: tuple[CategoryCount, ...]
    similar_users: tuple[UserNeighbour, ...]
    groups: tuple[SuggestedGroup, ...]


class Users:
    """The users of a recommender."""

    def __init__(self, state: RecommenderState) -> None:
        self._state = state
        self._groups_of: UserGroups | None = None
        self._members: NDArray[np.bool_] = np.zeros((0, 0), bool)

    def similar(self, user_id: str, n: int, model: str | None = None) -> tuple[str, tuple[UserNeighbour, ...]]:
        """Return the algorithm used and the users most similar to this one, best first.

        A user who is not in the artifact is compared by common items. Raise NotKnown, and InvalidInput when the named
        algorithm lacks the capability.
        """
        self._check(user_id)
        state = self._state
        users = state.contents.users
        row = users.row(user_id)
        if model is not None or (row is not None and state.supporting("similar_users")):
            algorithm = state.choose(model, "similar_users")
            if row is not None and len(state.seen(row)):
                rows, scores = algorithm.similar_users(np.array([row], np.int64), n)
                return algorithm.name, self._neighbours(rows[0], scores[0])
        liked, _ = state.recent_items(user_id)
        items = np.concatenate((state.seen(-1 if row is None else row), liked))
        if not len(items):
            return OVERLAP, ()
        similarity = _overlap(state.contents.dataset, items)
        similarity[similarity <= 0] = -np.inf
        if row is not None:
            similarity[row] = -np.inf
        rows, scores = select_top_k(similarity[None, :], n)
        return OVERLAP, self._neighbours(rows[0], scores[0])

    def groups(self, user_id: str, n: int) -> tuple[SuggestedGroup, ...]:
        """Suggest groups by their share of members among similar users, best first. Raise NotKnown."""
        self._check(user_id)
        groups, members = self._membership()
        if not groups.names:
            return ()
        sizes = members.sum(axis=1)
        base = sizes / max(1, members.shape[1])
        _, neighbours = self.similar(user_id, _NEIGHBOURS)
        users = self._state.contents.users
        weighted = [(row, max(each.score, 0.0)) for each in neighbours if (row := users.row(each.user_id)) is not None]
        rows, weights = [row for row, _ in weighted], np.array([weight for _, weight in weighted])
        # Weigh neighbours by similarity; the weights sum to their number.
        normalised = weights * (len(rows) / weights.sum()) if weights.sum() > 0 else weights
        share = (members[:, rows] @ normalised + _PRIOR * base) / (normalised.sum() + _PRIOR)
        scores = np.divide(share, base, out=np.ones_like(share), where=base > 0)
        order = np.lexsort((np.arange(len(scores)), -scores))[:n]
        return tuple(
            SuggestedGroup(
                groups.names[i], groups.kinds[i], len(groups.members[i]), user_id in groups.members[i], float(scores[i])
            )
            for i in order.tolist()
        )

    def profile(self, user_id: str, n: int) -> UserProfile:
        """Return the profile of a user, with at most `n` entries per list. Raise NotKnown."""
        self._check(user_id)
        state = self._state
        row = state.contents.users.row(user_id)
        trained = state.seen(-1 if row is None else row)
        liked, _ = state.recent_items(user_id)
        items = np.unique(np.concatenate((trained, liked)))
        return UserProfile(
            user_id=user_id,
            in_training=row is not None,
            features=state.features.users.values(user_id),
            interactions=len(trained),
            recent_interactions=len(liked),
            top_items=self._top_items(row, liked, n),
            top_categories=self._top_categories(items, n),
            similar_users=self.similar(user_id, n)[1],
            groups=self.groups(user_id, n),
        )

    def _check(self, user_id: str) -> None:
        if not self._state.knows_user(user_id):
            raise NotKnown(f"no user '{user_id[:100]}' is known", location=("path", "user_id"))

    def _neighbours(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> tuple[UserNeighbour, ...]:
        users = self._state.contents.users
        pairs = zip(rows.tolist(), scores.tolist(), strict=True)
        return tuple(UserNeighbour(users[row], score) for row, score in pairs if row != PADDING)

    def _membership(self) -> tuple[UserGroups, NDArray[np.bool_]]:
        """Return the groups and the membership of the users of the artifact, (groups, users)."""
        groups = self._state.features.groups
        if groups is not self._groups_of:
            users = self._state.contents.users
            members = np.zeros((len(groups.names), len(users)), bool)
            for group, ids in enumerate(groups.members):
                members[group, [row for each in ids if (row := users.row(each)) is not None]] = True
            self._members, self._groups_of = members, groups
        return groups, self._members

    def _top_items(self, row: int | None, liked: NDArray[np.int64], n: int) -> tuple[UserItem, ...]:
        """Return recent items, newest first, then items by rating, time and weight."""
        contents = self._state.contents
        dataset, ids, titles = contents.dataset, contents.items, contents.titles
        recent = [UserItem(ids[item], titles[item], None, None) for item in liked[::-1].tolist()[:n]]
        if row is None:
            return tuple(recent)
        start, end = dataset.interactions.indptr[row], dataset.interactions.indptr[row + 1]
        positions = np.arange(start, end)
        ratings = dataset.ratings[positions] if dataset.ratings is not None else None
        times = dataset.times[positions] if dataset.times is not None else None
        keys = [key for key in (dataset.interactions.data[positions], times, ratings) if key is not None]
        recent_ids = {each.item_id for each in recent}
        trained = []
        for position in np.lexsort(keys)[::-1].tolist():
            item = int(dataset.interactions.indices[start + position])
            if ids[item] not in recent_ids:
                rating = None if ratings is None else float(ratings[position])
                trained.append(
                    UserItem(ids[item], titles[item], rating, None if times is None else int(times[position]))
                )
            if len(recent) + len(trained) >= n:
                break
        return tuple(recent + trained)

    def _top_categories(self, items: NDArray[np.int64], n: int) -> tuple[CategoryCount, ...]:
        metadata = self._state.item_metadata()
        counts = Counter(name for item in items.tolist() for name in metadata.categories_of(item))
        ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:n]
        return tuple(CategoryCount(name, count, count / len(items)) for name, count in ordered)


def _overlap(dataset: Dataset, items: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the cosine of these items with those of each user, (users,).

    20 million interactions take 40 ms; a product of normalised matrices takes 260 ms and 380 MB more
    (`python -m tests.measure.arrays`, a core of an AMD EPYC).
    """
    matrix = dataset.interactions
    is_item = np.zeros(dataset.items, bool)
    is_item[items] = True
    positions = np.flatnonzero(is_item[matrix.indices])
    common = np.bincount(np.searchsorted(matrix.indptr, positions, side="right") - 1, minlength=dataset.users)
    lengths = np.sqrt(np.maximum(1, np.diff(matrix.indptr)) * is_item.sum())
    return np.asarray(common / lengths, np.float32)
