"""Runners of a few numbers each, in this process: real arithmetic that a test can turn off, break or swap."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactInvalid, ArtifactMissing, RunnerUnavailable, VersionNotLoaded
from models.recommender.online.dispatcher import Dispatcher
from models.recommender.online.messages import Answer, Query, ScoredItem
from serving.context import Priority, current_priority
from serving.runners.interface import ModelRef, RunnerResponse, RunnerStatus
from tests.models.recommender import film_library

# No answer may contain it.
INTERNAL_TEXT = "unix:///run/secret.sock refused the connection"


@dataclass
class Rows:
    """A runner of arrays: a linear layer and, for classes, a softmax."""

    name: str
    weights: NDArray[np.float32]
    is_classifier: bool = True
    is_gone: bool = False
    error: Exception | None = None
    version: str = "v1"
    calls: list[int] = field(default_factory=list)
    held: tuple[str, ...] = ()
    faults: dict[str, str] = field(default_factory=dict)
    # Whether `embed` gives the first pixel as the features.
    embeds: bool = True
    priorities: list[Priority] = field(default_factory=list)

    async def predict(
        self, rows: Any, *, deadline: float, version: str = "", method: str = "", is_low_priority: bool = False
    ) -> RunnerResponse:
        self._check()
        if version not in ("", self.version, *self.held):
            raise VersionNotLoaded("the version is not loaded at the moment")
        self.calls.append(len(rows))
        self.priorities.append(current_priority())
        flat = rows.astype(np.float32).reshape(len(rows), -1)
        logits = np.nan_to_num(flat) @ self.weights
        if self.is_classifier:
            logits = np.exp(logits - logits.max(axis=1, keepdims=True))
            logits /= logits.sum(axis=1, keepdims=True)
        if method == "embed" and self.embeds:
            logits = np.concatenate((logits, flat[:, :3]), axis=1)
        return RunnerResponse(logits, ModelRef(self.name, version or self.version))

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        if self.is_gone:
            return RunnerStatus(ready=False, model=None, detail="no connection")
        return RunnerStatus(ready=True, model=ModelRef(self.name, self.version))

    @property
    def last_status(self) -> RunnerStatus:
        model = ModelRef(self.name, self.version)
        return RunnerStatus(ready=True, model=model, versions=self.held, faults=self.faults)

    async def hold(self, versions: Sequence[str], *, timeout_s: float = 1.0) -> tuple[str, ...]:
        self._check()
        for version in versions:
            self._find(version)
        self.held = tuple(versions)
        return self.held

    async def reload(self, version: str | None, *, timeout_s: float = 1.0) -> ModelRef:
        self._check()
        self._find(version)
        self.version = version or "v1"
        return ModelRef(self.name, self.version)

    def _find(self, version: str | None) -> None:
        if version not in (None, "v0", "v1", "v2", "cut"):
            raise ArtifactMissing(f"no version '{version}' of artifact '{self.name}' in the model store; known: v0, v1")
        if version == "cut":
            raise ArtifactInvalid(f"file 'model.onnx' of artifact '{self.name}:cut' is missing or cut")

    def _check(self) -> None:
        if self.is_gone:
            raise RunnerUnavailable(INTERNAL_TEXT)
        if self.error:
            raise self.error


PLAIN = {"user_id", "n", "filter_seen"}
_desk = functools.cache(film_library.dispatcher)


@dataclass
class Queries:
    """A runner of queries: users and items as two numbers each."""

    name: str = "recommender"
    users: dict[str, tuple[float, float]] = field(default_factory=lambda: {"alice": (1, 0), "bob": (0, 1), "7": (1, 1)})
    items: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {str(number): (number % 7, number % 5) for number in range(1, 121)}
    )
    seen: dict[str, set[str]] = field(default_factory=lambda: {"alice": {"6", "13"}})
    is_gone: bool = False
    error: Exception | None = None
    # Answers everything but plain queries: a real recommender with the same users and items.
    desk: Dispatcher = field(default_factory=lambda: _desk())
    priorities: list[Priority] = field(default_factory=list)

    async def predict(
        self, queries: Any, *, deadline: float, version: str = "", method: str = "", is_low_priority: bool = False
    ) -> RunnerResponse:
        if self.is_gone:
            raise RunnerUnavailable(INTERNAL_TEXT)
        if self.error:
            raise self.error
        self.priorities.append(current_priority())
        answers = [
            self._answer(Query.from_json(query)).to_json() if set(query) <= PLAIN else self.desk.answer([query])[0]
            for query in queries
        ]
        return RunnerResponse(answers, ModelRef(self.name, version or "v1"))

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        return RunnerStatus(ready=not self.is_gone, model=None if self.is_gone else ModelRef(self.name, "v1"))

    @property
    def last_status(self) -> RunnerStatus:
        return RunnerStatus(ready=True, model=ModelRef(self.name, "v1"))

    def _answer(self, query: Query) -> Answer:
        if query.user_id == "broken":
            return Answer((), "factors", error=INTERNAL_TEXT, error_kind="failed")
        taste = self.users.get(query.user_id, (1.0, 1.0))
        hidden = self.seen.get(query.user_id, set()) if query.filter_seen else set()
        scores = {item: float(np.dot(taste, place)) for item, place in self.items.items() if item not in hidden}
        best = sorted(scores, key=lambda item: -scores[item])[: query.n]
        items = tuple(ScoredItem(item, "" if item == "1" else f"Item {item}", scores[item]) for item in best)
        return Answer(items, "factors", reason=None if query.user_id in self.users else "unknown_user")
