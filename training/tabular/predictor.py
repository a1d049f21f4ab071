"""The fitted model of a table: a weighted mean of its parts, calibrated for classes, scaled for numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.tabular.boosting import Values
from training.tabular.calibration import Calibration
from training.tabular.candidates import PreparedModel
from training.tabular.choice import Choice, standardized


@dataclass(frozen=True, slots=True)
class TablePredictor:
    """Fitted parts with their weights. Estimates are `mean` plus `scale` times those of the parts."""

    parts: tuple[tuple[float, PreparedModel], ...]
    classes: int
    calibration: Calibration | None = None
    mean: float = 0.0
    scale: float = 1.0

    def predict(self, rows: NDArray[np.floating], *, is_calibrated: bool = True) -> NDArray[np.float64]:
        """Return probabilities (N, K), or estimates (N, 1), of encoded rows."""
        wide = rows.astype(np.float64, copy=False)
        answers: NDArray[np.float64] = np.sum([weight * part.predict(wide) for weight, part in self.parts], axis=0)
        if not self.classes:
            return self.mean + self.scale * answers
        return self.calibration.apply(answers) if is_calibrated and self.calibration is not None else answers

    def column_gains(self) -> dict[int, float]:
        """Return each encoded column's share of the gain of boosting; empty where there is none."""
        gains: dict[int, float] = {}
        for _, part in self.parts:
            gains |= part.column_gains()
        return gains


def fit(choice: Choice, rows: NDArray[np.float64], values: Values, *, classes: int) -> TablePredictor:
    """Fit the chosen model to all rows."""
    targets, mean, scale = standardized(values)
    parts = tuple((part.weight, part.candidate.make(part.rounds).fit(rows, targets)) for part in choice.parts)
    return TablePredictor(parts, classes, choice.calibration, mean, scale)
