"""Small real predictors that fail on command: the first number of a row selects the failure."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactMissing, InvalidInput
from serving.runners.host.loaded_versions import LoadedVersions

RAISE, SHORT, NAN, REFUSE, WAIT, TEXT = -1.0, -2.0, -3.0, -4.0, -5.0, -6.0
MODEL_WORDS = "the secret of row 17 in /var/lib/secret"


@dataclass(frozen=True)
class Named:
    name: str
    version: str


@dataclass
class Sums:
    """float32 (N, F) -> (N, 1). A row of WAIT waits for `gate`, at most two minutes."""

    version: str = "v1"
    calls: list[int] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def artifact(self) -> Named:
        return Named("sums", self.version)

    def predict(self, rows: NDArray[np.float32]) -> Any:
        self.calls.append(len(rows))
        commands = rows[:, 0]
        if (commands == RAISE).any():
            raise ValueError(MODEL_WORDS)
        if (commands == REFUSE).any():
            raise InvalidInput("row is not welcome", location=("body", "row"))
        if (commands == WAIT).any():
            self.gate.wait(120)
        if (commands == TEXT).any():
            return "no array"
        values = rows.sum(axis=1, keepdims=True, dtype=np.float32)
        values[commands == NAN] = np.nan
        return values[:-1] if (commands == SHORT).any() else values

    def example(self) -> NDArray[np.float32]:
        return np.ones((1, 3), np.float32)


class Method:
    """A substitute of BentoML's API method: `local` is the plain function."""

    def __init__(self, function: Any) -> None:
        self.local = function


class SumsRunner:
    """A runner's instance with loaded versions."""

    def __init__(self) -> None:
        self.loaded: list[Sums] = []
        self.model = LoadedVersions(self.load, warm_up=lambda model: model.predict(model.example()))
        self.predict = Method(self.call)

    def load(self, version: str | None) -> Sums:
        if version == "missing":
            raise ArtifactMissing("no version 'missing' of artifact 'sums' in the model store; known: v1")
        if version == "broken":
            raise ValueError(MODEL_WORDS)
        model = Sums(version or "v1")
        if version == "slow":
            time.sleep(0.3)
        self.loaded.append(model)
        return model

    def call(self, rows: NDArray[np.float32]) -> Any:
        with self.model.lease() as model:
            return model.predict(rows)


class EchoRunner:
    """A runner of JSON queries, without an artifact."""

    def __init__(self) -> None:
        self.ask = Method(self.call)

    def call(self, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if any(query.get("bad") for query in queries):
            raise ValueError(MODEL_WORDS)
        return [{"heard": query} for query in queries]

    def example(self) -> list[dict[str, Any]]:
        return [{"hello": 1}]
