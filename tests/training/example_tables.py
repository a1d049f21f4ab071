"""Tables with known content for the tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes, load_wine


def diabetes_csv(folder: Path) -> Path:
    """Write scikit-learn's diabetes as a CSV with semicolons: 442 rows, ten numbers, a number to predict."""
    path = folder / "diabetes.csv"
    load_diabetes(as_frame=True, scaled=False).frame.to_csv(path, index=False, sep=";")
    return path


def wine_parquet(folder: Path) -> Path:
    """Write scikit-learn's wine as parquet: 178 rows, thirteen numbers, three named classes."""
    path = folder / "wine.parquet"
    wine = load_wine(as_frame=True)
    frame = wine.frame.drop(columns="target").assign(grower=wine.target_names[wine.target])
    frame.to_parquet(path)
    return path


def mixed_frame(rows: int = 400, *, seed: int = 0) -> pd.DataFrame:
    """Return a frame with every kind of column, most with missing values. `bought` depends on three of them."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "customer_id": random.permutation(10**6)[:rows],
            "größe in cm": random.normal(170, 10, rows).round(1),
            "no.of.visits": pd.array(random.integers(0, 30, rows), dtype="Int64"),
            "vip": random.choice(["yes", "no"], rows),
            "city": random.choice(["Bonn, am Rhein", "Köln", "Aachen"], rows, p=[0.48, 0.48, 0.04]),
            "is_new": random.choice([True, False], rows),
            "joined": pd.date_range("2020-01-01", periods=rows).strftime("%Y-%m-%d"),
            "notes": [f"note {number % (rows // 2 + 20)}" for number in range(rows)],
            "country": "DE",
            "fax": None,
        }
    )
    score = (frame["größe in cm"] - 170) / 10 + 1.5 * (frame["vip"] == "yes") + (frame["city"] == "Köln")
    frame["bought"] = np.where(score + random.normal(0, 0.5, rows) > 1, "ja", "nein")
    for name, number in (("größe in cm", 20), ("no.of.visits", 10), ("vip", 15), ("city", 12)):
        frame.loc[random.choice(rows, number, replace=False), name] = pd.NA if name == "no.of.visits" else None
    return frame
