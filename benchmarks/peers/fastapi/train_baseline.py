"""Trains the scikit-learn pipeline of the baseline servers, with the same kind of estimator as the artifact.

Arguments: folder of the artifact, output file, and optionally a CSV file with the columns of the card. Without it the
rows are random, which does not change the cost of inference. Only peers load the joblib file.
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

from benchmarks.cases import random_rows

_ROWS = 1000


def table(card: dict[str, Any], csv: Path | None) -> tuple[pd.DataFrame, Any]:
    """Return the inputs by column and the target."""
    names = [column["name"] for column in card["inputs"]]
    if csv is not None:
        frame = pd.read_csv(csv)
        targets = [name for name in frame.columns if name not in names]
        if set(names) <= set(frame.columns) and targets:
            return frame[names], frame[targets[0]].astype(str)
    frame = pd.DataFrame(random_rows(card["inputs"], _ROWS))[names]
    return frame, np.random.default_rng(0).integers(0, len(card["classes"]), len(frame))


def pipeline(card: dict[str, Any]) -> Any:
    """Return an untrained pipeline: one-hot categories, imputed numbers, calibrated probabilities."""
    categories = [column["name"] for column in card["inputs"] if column["kind"] == "category"]
    numbers = [column["name"] for column in card["inputs"] if column["kind"] != "category"]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    if "boost" in card["algorithm"]:
        prepare = ColumnTransformer([("numbers", "passthrough", numbers), ("categories", encoder, categories)])
        model: Any = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.06, max_leaf_nodes=6, random_state=0)
    else:
        imputed = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        prepare = ColumnTransformer([("numbers", imputed, numbers), ("categories", encoder, categories)])
        model = LogisticRegression(C=0.05, max_iter=2000)
    return make_pipeline(prepare, CalibratedClassifierCV(model, method="sigmoid", cv=5, ensemble=False))


if __name__ == "__main__":
    description = json.loads(Path(sys.argv[1], "card.json").read_bytes())
    rows, target = table(description, Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    joblib.dump(pipeline(description).fit(rows, target), sys.argv[2])
