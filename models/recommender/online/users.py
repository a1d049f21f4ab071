"""Users alike, groups to join, and what is known of one user. Knows ids and rows, no HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import NotKnown
from models.recommender.algorithms.top_k import NOTHING, best
from models.recommender.dataset.dataset import Dataset
from models.recommender.dataset.encoding import Value
from models.recommender.dataset.feature_store import Groups
from models.recommender.online.state import RecommenderState

# Neighbours whose memberships speak for a group.
_VOICES = 50
# So many imagined neighbours of average taste: two of two neighbours say less than forty of fifty.
_PRIOR = 5.0
OVERLAP = "overlap"


@dataclass(frozen=True, slots=True)
class SimilarUser:
    """A user and how alike, comparable within one answer only."""

    user_id: str
    score: float


@dataclass(frozen=True, slots=True)
class GroupFound:
    """A group; `score` is how much more of the people alike are in it than of all people; 1 is as many."""

    group: str
    kind: str
    members: int
    is_member: bool
    score: float


@dataclass(frozen=True, slots=True)
class Liked:
    """An item of a user's own: the rating where there was one, and the time (Unix seconds)."""

    item_id: str
    title: str
    rating: float | None
    time: int | None


@dataclass(frozen=True, slots=True)
class CategoryShare:
    """A category and how many of a user's items have it."""

    category: str
    items: int
    share: float


@dataclass(frozen=True, slots=True)
class Overview:
    """What is known of one user. `features` is None when the feature store has no row."""

    user_id: str
    in_training: bool
    features: Mapping[str, Value] | None
    interactions: int
    recent_interactions: int
    top_items: tuple[Liked, ...]
    top_categories: tuple[CategoryShare, ...]
    similar_users: tuple[SimilarUser, ...]
    groups: tuple[GroupFound, ...]


class Users:
    """Users of a recommender."""

    def __init__(self, knowledge: RecommenderState) -> None:
        self._knowledge = knowledge
        self._groups_of: Groups | None = None
        self._members: NDArray[np.bool_] = np.zeros((0, 0), bool)

    def similar(self, user_id: str, n: int, model: str | None = None) -> tuple[str, tuple[SimilarUser, ...]]:
        """The algorithm that found them and the users most like this one, best first.

        Someone who is not in the artifact is compared by the items that they share with others. Raises NotKnown, and
        InvalidInput when the named algorithm cannot do this.
        """
        self._check(user_id)
        knowledge = self._knowledge
        users = knowledge.contents.users
        row = users.row(user_id)
        if model is not None or (row is not None and knowledge.able("similar_users")):
            algorithm = knowledge.choose(model, "similar_users")
            if row is not None and len(knowledge.seen(row)):
                found, scores = algorithm.similar_users(np.array([row], np.int64), n)
                return algorithm.name, self._alike(found[0], scores[0])
        liked, _ = knowledge.recent_of(user_id)
        own = np.concatenate((knowledge.seen(-1 if row is None else row), liked))
        if not len(own):
            return OVERLAP, ()
        likeness = _overlap(knowledge.contents.dataset, own)
        likeness[likeness <= 0] = -np.inf
        if row is not None:
            likeness[row] = -np.inf
        found, scores = best(likeness[None, :], n)
        return OVERLAP, self._alike(found[0], scores[0])

    def groups(self, user_id: str, n: int) -> tuple[GroupFound, ...]:
        """Groups for a user, those that people alike are in most before others. Raises NotKnown."""
        self._check(user_id)
        groups, members = self._membership()
        if not groups.names:
            return ()
        sizes = members.sum(axis=1)
        base = sizes / max(1, members.shape[1])
        _, alike = self.similar(user_id, _VOICES)
        users = self._knowledge.contents.users
        heard = [(row, max(each.score, 0.0)) for each in alike if (row := users.row(each.user_id)) is not None]
        rows, voices = [row for row, _ in heard], np.array([voice for _, voice in heard])
        # Who is more alike speaks louder; all of them together as much as they are.
        loudness = voices * (len(rows) / voices.sum()) if voices.sum() > 0 else voices
        share = (members[:, rows] @ loudness + _PRIOR * base) / (loudness.sum() + _PRIOR)
        scores = np.divide(share, base, out=np.ones_like(share), where=base > 0)
        order = np.lexsort((np.arange(len(scores)), -scores))[:n]
        return tuple(
            GroupFound(
                groups.names[i], groups.kinds[i], len(groups.members[i]), user_id in groups.members[i], float(scores[i])
            )
            for i in order.tolist()
        )

    def overview(self, user_id: str, n: int) -> Overview:
        """All that is known of a user, `n` of everything that is a list. Raises NotKnown."""
        self._check(user_id)
        knowledge = self._knowledge
        row = knowledge.contents.users.row(user_id)
        own = knowledge.seen(-1 if row is None else row)
        liked, _ = knowledge.recent_of(user_id)
        items = np.unique(np.concatenate((own, liked)))
        return Overview(
            user_id=user_id,
            in_training=row is not None,
            features=knowledge.features.users.values(user_id),
            interactions=len(own),
            recent_interactions=len(liked),
            top_items=self._top_items(row, liked, n),
            top_categories=self._top_categories(items, n),
            similar_users=self.similar(user_id, n)[1],
            groups=self.groups(user_id, n),
        )

    def _check(self, user_id: str) -> None:
        if not self._knowledge.knows_user(user_id):
            raise NotKnown(f"no user '{user_id[:100]}' is known", location=("path", "user_id"))

    def _alike(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> tuple[SimilarUser, ...]:
        users = self._knowledge.contents.users
        pairs = zip(rows.tolist(), scores.tolist(), strict=True)
        return tuple(SimilarUser(users[row], score) for row, score in pairs if row != NOTHING)

    def _membership(self) -> tuple[Groups, NDArray[np.bool_]]:
        """The groups and who of the artifact's users is in them, (groups, users)."""
        groups = self._knowledge.features.groups
        if groups is not self._groups_of:
            users = self._knowledge.contents.users
            members = np.zeros((len(groups.names), len(users)), bool)
            for group, ids in enumerate(groups.members):
                members[group, [row for each in ids if (row := users.row(each)) is not None]] = True
            self._members, self._groups_of = members, groups
        return groups, self._members

    def _top_items(self, row: int | None, liked: NDArray[np.int64], n: int) -> tuple[Liked, ...]:
        """Recent ones first, the newest first; then by rating, time and weight."""
        contents = self._knowledge.contents
        dataset, ids, titles = contents.dataset, contents.items, contents.titles
        recent = [Liked(ids[item], titles[item], None, None) for item in liked[::-1].tolist()[:n]]
        if row is None:
            return tuple(recent)
        start, end = dataset.interactions.indptr[row], dataset.interactions.indptr[row + 1]
        places = np.arange(start, end)
        ratings = dataset.ratings[places] if dataset.ratings is not None else None
        times = dataset.times[places] if dataset.times is not None else None
        keys = [key for key in (dataset.interactions.data[places], times, ratings) if key is not None]
        already = {each.item_id for each in recent}
        found = []
        for place in np.lexsort(keys)[::-1].tolist():
            item = int(dataset.interactions.indices[start + place])
            if ids[item] not in already:
                rating = None if ratings is None else float(ratings[place])
                found.append(Liked(ids[item], titles[item], rating, None if times is None else int(times[place])))
            if len(recent) + len(found) >= n:
                break
        return tuple(recent + found)

    def _top_categories(self, items: NDArray[np.int64], n: int) -> tuple[CategoryShare, ...]:
        facts = self._knowledge.facts()
        counts = Counter(name for item in items.tolist() for name in facts.of(item))
        ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:n]
        return tuple(CategoryShare(name, count, count / len(items)) for name, count in ordered)


def _overlap(dataset: Dataset, items: NDArray[np.int64]) -> NDArray[np.float32]:
    """The cosine of these items with those of each user, (users,).

    20 million interactions in 40 ms; as a product of normalised matrices in 260 ms, and 380 MB more
    (`python -m tests.measure.arrays`, a core of an AMD EPYC).
    """
    matrix = dataset.interactions
    is_wanted = np.zeros(dataset.items, bool)
    is_wanted[items] = True
    places = np.flatnonzero(is_wanted[matrix.indices])
    common = np.bincount(np.searchsorted(matrix.indptr, places, side="right") - 1, minlength=dataset.users)
    lengths = np.sqrt(np.maximum(1, np.diff(matrix.indptr)) * is_wanted.sum())
    return np.asarray(common / lengths, np.float32)
