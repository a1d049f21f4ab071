"""Generated texts whose class is known: sentences about three topics, with accents, emoji and several scripts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

TOPICS = {
    "food": ("café", "soup", "bread", "crème brûlée", "寿司", "cheese", "🍕", "cooking"),
    "sport": ("football", "goal", "referee", "match", "Österreich", "⚽", "team", "running"),
    "weather": ("rain", "snow", "cloudy", "дождь", "forecast", "☀️", "storm", "windy"),
}
_FILLING = ("the", "a", "today", "with", "and", "we", "saw", "some", "very", "good", "again", "here")


def sentences(rows: int = 300, *, seed: int = 0) -> pd.DataFrame:
    """Return `rows` sentences in the columns `message` and `topic`, equally many of each topic."""
    random = np.random.default_rng(seed)
    topics = [list(TOPICS)[row % len(TOPICS)] for row in range(rows)]
    texts = []
    for topic in topics:
        words = [*random.choice(TOPICS[topic], 2), *random.choice(_FILLING, random.integers(2, 6))]
        texts.append(" ".join(random.permutation(words)).capitalize() + random.choice([".", "!", ""]))
    return pd.DataFrame({"message": texts, "topic": topics, "number": range(rows)})


def sentences_csv(folder: Path, rows: int = 300) -> Path:
    """Write `sentences` as a CSV file."""
    path = folder / "messages.csv"
    sentences(rows).to_csv(path, index=False)
    return path
