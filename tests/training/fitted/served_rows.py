"""What a saved table answers to rows, by the code that serves it, and small data to fit models to."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import make_classification, make_regression

from models.store.artifacts import Artifact, verify
from models.tabular.model import TabularModel
from serving.kinds.tabular.version import TabularVersion

ROWS = 200
X, Y = make_classification(ROWS, 5, n_informative=4, n_redundant=0, n_classes=3, random_state=0)
TWO = Y > 0
XR, YR = make_regression(ROWS, 5, n_targets=1, noise=2.0, random_state=0)
_, SEVERAL = make_regression(ROWS, 5, n_targets=3, noise=2.0, random_state=1)
LABELS = np.column_stack([Y, TWO.astype(int)])


def with_gaps(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows with missing values in one column."""
    gaps = rows.copy()
    gaps[::7, 1] = np.nan
    return gaps


def customers() -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return a table of several types, with missing values, odd names, and what is to be predicted."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "credit amount": random.normal(2_000, 800, ROWS),
            "age": random.integers(18, 70, ROWS),
            "is known": random.random(ROWS) < 0.5,
            "größe": random.choice(["small", "middling", "large"], ROWS),
            "city": random.choice(["Oslo", "Rome"], ROWS),
        }
    )
    bought = (frame["credit amount"] / 100 + frame["age"] + 20 * (frame["city"] == "Rome") > 72).to_numpy(np.int64)
    frame.loc[::9, "credit amount"] = np.nan
    frame.loc[::7, "größe"] = None
    return frame, bought


def instances(rows: Any) -> list[dict[str, Any]]:
    """Return rows as a request has them."""
    frame = (
        rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=[f"x{i}" for i in range(rows.shape[1])])
    )
    read: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return read


def answers(artifact: Artifact, rows: Any) -> list[dict[str, Any]]:
    """Return the predictions of a saved table for rows, as a response has them."""
    verify(artifact)
    version = TabularVersion(artifact.card, max_rows=ROWS)
    read = version.read(rows if isinstance(rows, list) else instances(rows))
    return version.predictions(TabularModel.load(artifact).predict(version.encode(read)), len(read))


def shares(predictions: list[dict[str, Any]]) -> NDArray[np.float64]:
    """Return the probabilities of predictions, (N, K)."""
    return np.array([list(row["probabilities"].values()) for row in predictions])
