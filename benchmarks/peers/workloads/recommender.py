"""The best items of a user by one matrix product, on the artifact's arrays."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.workloads.base import Answer

Item = tuple[int, int]


class Factors:
    """`{"user_id": "7", "n": 10}` to ids and scores, what the user has seen left out."""

    def __init__(self, folder: Path) -> None:
        described = json.loads((folder / "recommender.json").read_bytes())
        self.algorithm = factors_model(described["default"], folder)
        learned = folder / "models" / self.algorithm
        self._users = np.load(learned / "user_factors.npy", mmap_mode="r")
        self._items = np.load(learned / "item_factors.npy", mmap_mode="r")
        self._biases = np.load(learned / "item_biases.npy")
        self._seen = np.load(folder / "interactions" / "seen_indices.npy", mmap_mode="r")
        self._starts = np.load(folder / "interactions" / "seen_indptr.npy")
        self._item_ids = read_texts(folder / "items")
        self._rows = {text: row for row, text in enumerate(read_texts(folder / "users"))}

    def item(self, request: Any) -> Item:
        return self._rows[str(request["user_id"])], int(request["n"])

    def answers(self, items: list[Item]) -> list[Answer]:
        users = np.array([user for user, _ in items])
        scores = self._users[users] @ self._items.T + self._biases
        return [self._best(scores[row], user, n) for row, (user, n) in enumerate(items)]

    def _best(self, scores: NDArray[np.float32], user: int, n: int) -> Answer:
        scores[self._seen[self._starts[user] : self._starts[user + 1]]] = -np.inf
        n = min(n, len(scores) - 1)
        chosen = np.argpartition(-scores, n)[:n]
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
        return {"items": [{"id": self._item_ids[row], "score": float(scores[row])} for row in chosen.tolist()]}


def factors_model(default: str, folder: Path) -> str:
    """Name of the algorithm in the artifact that is made of factors: its default, where that is one."""
    able = [path.parent.name for path in sorted((folder / "models").glob("*/item_factors.npy"))]
    return default if default in able or not able else able[0]


def read_texts(folder: Path) -> list[str]:
    """The strings of `bytes.npy` and `ends.npy`."""
    encoded = np.load(folder / "bytes.npy").tobytes()
    ends = np.load(folder / "ends.npy").tolist()
    return [encoded[start:end].decode() for start, end in pairwise(ends)]
