"""The likeliest classes of arrays of probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.errors import PredictionFailed
from serving.kinds.image.schemas import ClassifyOptions, ClassPrediction


def rank(
    values: NDArray[np.float32], rows: int, classes: Sequence[str], options: ClassifyOptions
) -> list[list[ClassPrediction]]:
    """Return the likeliest classes of each row, best first. Raises as `check`."""
    check(values, rows, classes)
    return [_ranked(row, classes, options) for row in values]


def check(values: NDArray[np.float32], rows: int, classes: Sequence[str]) -> None:
    """Raise PredictionFailed unless the values are finite, (rows, classes)."""
    if values.shape != (rows, len(classes)):
        raise PredictionFailed(f"{values.shape} values for {rows} images and {len(classes)} classes")
    if not np.isfinite(values).all():
        raise PredictionFailed("the model answered NaN or infinity")


def _ranked(row: NDArray[np.float32], classes: Sequence[str], options: ClassifyOptions) -> list[ClassPrediction]:
    best = np.argsort(-row, kind="stable")[: options.top_k].tolist()
    # bf16 shares can add up to a hair over one.
    shares = np.clip(row[best].astype(np.float64), 0.0, 1.0).round(6).tolist()
    return [
        ClassPrediction(class_id=class_id, label=classes[class_id], confidence=share)
        for class_id, share in zip(best, shares, strict=True)
        if share >= options.threshold
    ]
