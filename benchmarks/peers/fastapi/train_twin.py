"""Trains the scikit-learn pipeline that the plain servers load: the same kind of estimator as the artifact's.

Arguments: the artifact's folder, where to save, and optionally a CSV file that has the card's columns. Without one the
rows are random, which changes no cost. Saved with joblib, as scikit-learn's guide shows; only peers read it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.scenarios import random_rows

_ROWS = 1000


def table(card: dict[str, Any], csv: Path | None) -> tuple[pd.DataFrame, Any]:
    """Inputs by column, and the target."""
    names = [column["name"] for column in card["inputs"]]
    if csv is not None:
        frame = pd.read_csv(csv)
        targets = [name for name in frame.columns if name not in names]
        if set(names) <= set(frame.columns) and targets:
            return frame[names], frame[targets[0]].astype(str)
    frame = pd.DataFrame(random_rows(card["inputs"], _ROWS))[names]
    return frame, np.random.default_rng(0).integers(0, len(card["classes"]), len(frame))


def pipeline(card: dict[str, Any]) -> Any:
    """One-hot categories; numbers as boosting takes them, or filled and scaled; calibrated as the artifact is."""
    categories = [column["name"] for column in card["inputs"] if column["kind"] == "category"]
    numbers = [column["name"] for column in card["inputs"] if column["kind"] != "category"]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    if "boost" in card["algorithm"]:
        prepare = ColumnTransformer([("numbers", "passthrough", numbers), ("categories", encoder, categories)])
        model: Any = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.06, max_leaf_nodes=6, random_state=0)
    else:
        filled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        prepare = ColumnTransformer([("numbers", filled, numbers), ("categories", encoder, categories)])
        model = LogisticRegression(C=0.05, max_iter=2000)
    return make_pipeline(prepare, CalibratedClassifierCV(model, method="sigmoid", cv=5, ensemble=False))


if __name__ == "__main__":
    described = json.loads(Path(sys.argv[1], "card.json").read_bytes())
    rows, target = table(described, Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    joblib.dump(pipeline(described).fit(rows, target), sys.argv[2])
