"""Classes of a user's, as tests serve them."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator
from typing_extensions import TypedDict

from models.errors import InvalidInput


class Review(BaseModel):
    """A review of a film."""

    text: str = Field(max_length=1000, description="What the reviewer wrote.")
    stars: int | None = None


class Verdict(BaseModel):
    positive: bool
    score: float


class Sentiment:
    """Counts good and bad words."""

    example = Review(text="A good film")
    deterministic = True

    def load(self, folder: Path) -> None:
        self.words: dict[str, float] = json.loads((folder / "words.json").read_text())

    def predict(self, reviews: list[Review]) -> list[Verdict]:
        scores = [sum(self.words.get(word, 0) for word in each.text.lower().split()) for each in reviews]
        return [Verdict(positive=score > 0, score=score) for score in scores]


class Length:
    """The length of a text, without weights."""

    example = "four"

    def predict(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]


@dataclass
class Point:
    x: float
    y: float = 1.0


class Circle(TypedDict):
    radius: float
    born: date


class Shapes:
    """A dataclass and a TypedDict."""

    def predict(self, points: Sequence[Point]) -> Sequence[Circle]:
        return [{"radius": (point.x**2 + point.y**2) ** 0.5, "born": date(2026, 1, 2)} for point in points]


class Moody(BaseModel):
    do: Literal["answer", "raise", "exit", "refuse", "text", "nan", "surrogate", "wait"] = "answer"
    wait_s: float = 0.0

    @model_validator(mode="after")
    def _is_brief(self) -> Moody:
        if self.wait_s > 60:
            raise ValueError("a call waits at most a minute")
        return self


class Answer(BaseModel):
    value: float
    note: str = ""


class Faulty:
    """Does what an instance says. `threads` are the threads that called it."""

    example: ClassVar[dict[str, str]] = {"do": "answer"}
    threads: ClassVar[set[int]] = set()

    def __init__(self) -> None:
        self.threads.add(threading.get_ident())

    def predict(self, rows: list[Moody]) -> list[Answer]:
        self.threads.add(threading.get_ident())
        asyncio.run(asyncio.sleep(0))
        return [self._answer(row) for row in rows]

    def _answer(self, row: Moody) -> Any:
        time.sleep(row.wait_s)
        match row.do:
            case "raise":
                raise RuntimeError("the secret of the payload")
            case "exit":
                raise SystemExit(3)
            case "refuse":
                raise InvalidInput("this instance is not welcome")
            case "text":
                return {"value": "the secret of the payload"}
            case "nan":
                return Answer(value=float("nan"))
            case "surrogate":
                return Answer(value=1, note="\ud800")
        return Answer(value=1)


class Greedy(Length):
    def predict(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts][:1]


class Untyped:
    def predict(self, rows):  # type: ignore[no-untyped-def]
        return rows


class HalfTyped:
    def predict(self, rows: list[Any]) -> list[int]:
        return [0 for _ in rows]


class NoSchema:
    def predict(self, rows: list[threading.Thread]) -> list[int]:
        return [0 for _ in rows]


class NoPredict:
    pass


class Asynchronous:
    async def predict(self, rows: list[str]) -> list[str]:
        return rows


class NoExample:
    def predict(self, rows: list[Review]) -> list[str]:
        return [row.text for row in rows]


class WrongExample(NoExample):
    example: ClassVar[dict[str, int]] = {"text": 7}


class WrongType(Length):
    def predict(self, texts: list[str]) -> list[int]:
        return [None for _ in texts]  # type: ignore[misc]


class NotLoading(Length):
    def load(self, folder: Path) -> None:
        raise KeyError("words")


class Asking:
    """Asks another model for the length."""

    example = "four"
    uses = ("lengths", "others")
    models: Mapping[str, Any]

    def predict(self, texts: list[str]) -> list[int]:
        name = "gone" if "gone" in texts else "lengths"
        lengths: list[int] = self.models[name].predict(texts)
        return lengths


class WrongUses(Length):
    uses = "lengths"
