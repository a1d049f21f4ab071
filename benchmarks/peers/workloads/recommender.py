"""Recommendation: the best items of a user by one matrix product of the factors in the artifact."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.workloads.base import Result

Input = tuple[int, int]


class Factors:
    """`{"user_id": "7", "n": 10}` to item ids and scores. Items that the user has seen are excluded."""

    def __init__(self, folder: Path) -> None:
        description = json.loads((folder / "recommender.json").read_bytes())
        self.algorithm = factors_model(description["default"], folder)
        model = folder / "models" / self.algorithm
        self._users = np.load(model / "user_factors.npy", mmap_mode="r")
        self._items = np.load(model / "item_factors.npy", mmap_mode="r")
        self._biases = np.load(model / "item_biases.npy")
        self._seen = np.load(folder / "interactions" / "seen_indices.npy", mmap_mode="r")
        self._starts = np.load(folder / "interactions" / "seen_indptr.npy")
        self._item_ids = read_texts(folder / "items")
        self._rows = {text: row for row, text in enumerate(read_texts(folder / "users"))}

    def preprocess(self, request: Any) -> Input:
        return self._rows[str(request["user_id"])], int(request["n"])

    def predict(self, inputs: list[Input]) -> list[Result]:
        users = np.array([user for user, _ in inputs])
        scores = self._users[users] @ self._items.T + self._biases
        return [self._best(scores[row], user, n) for row, (user, n) in enumerate(inputs)]

    def _best(self, scores: NDArray[np.float32], user: int, n: int) -> Result:
        scores[self._seen[self._starts[user] : self._starts[user + 1]]] = -np.inf
        n = min(n, len(scores) - 1)
        best = np.argpartition(-scores, n)[:n]
        best = best[np.argsort(-scores[best], kind="stable")]
        return {"items": [{"id": self._item_ids[row], "score": float(scores[row])} for row in best.tolist()]}


def factors_model(default: str, folder: Path) -> str:
    """Return the default algorithm if it is a factor model, otherwise the first factor model of the artifact."""
    names = [path.parent.name for path in sorted((folder / "models").glob("*/item_factors.npy"))]
    return default if default in names or not names else names[0]


def read_texts(folder: Path) -> list[str]:
    """Return the strings stored in `bytes.npy` and `ends.npy`."""
    encoded = np.load(folder / "bytes.npy").tobytes()
    ends = np.load(folder / "ends.npy").tolist()
    return [encoded[start:end].decode() for start, end in pairwise(ends)]
