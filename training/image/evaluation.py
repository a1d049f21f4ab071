"""How good an image classifier is, overall and by photograph, and what it sees: numbers for the card and the report.

Knows probabilities and classes, no network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.card import Metrics
from models.image.preprocessing import Pixels
from models.profile import CategoryProfile, NumericProfile, Profile
from training.image.photographs import PHOTOGRAPHS, Views
from training.report import REPORT_FILE

CONFUSION_FILE = "confusion.json"

_BINS = 20
_WIDEST_TABLE = 20
_PAIRS = 20
_LARGEST_PROFILE_ROWS = 2_000


def scores(answers: NDArray[np.float32], of: NDArray[np.int64]) -> dict[str, float]:
    """Top-1, top-5 where there are more than five classes, and mean log loss, of probabilities (N, C)."""
    found = {"top1": _top(answers, of, 1)}
    if answers.shape[1] > 5:
        found["top5"] = _top(answers, of, 5)
    of_right = np.maximum(answers[np.arange(len(of)), of], 1e-9)
    return found | {"log_loss": float(-np.log(of_right).mean())}


def write_confusion(matrix: NDArray[np.int64], classes: Sequence[str], folder: Path) -> None:
    """Write `confusion.json`, and add the matrix, or the pairs confused most, to the report."""
    content = {"rows": "true class", "columns": "predicted class", "classes": list(classes), "counts": matrix.tolist()}
    (folder / CONFUSION_FILE).write_text(json.dumps(content))
    with (folder / REPORT_FILE).open("a") as report:
        report.write("\n## Confusion\n\n" + _confusion_table(matrix, classes) + "\n")


def photograph_scores(
    answers: NDArray[np.float32], views: Views, labels: Sequence[str]
) -> tuple[dict[str, float], dict[str, Metrics]]:
    """Share of the views of the named photographs whose right label is first, or in the first three; by photograph."""
    slices: dict[str, Metrics] = {}
    for index, photograph in enumerate(PHOTOGRAPHS):
        right = [labels.index(label) for label in photograph.labels if label in labels]
        if right:
            own = answers[views.of == index]
            slices[f"photograph={photograph.name}"] = {
                "photographs_top1": _any_top(own, right, 1),
                "photographs_top3": _any_top(own, right, 3),
                "mean_probability": float(own[:, right].sum(1).mean()),
                "views": float(len(own)),
            }
    names = ("photographs_top1", "photographs_top3")
    return {name: float(np.mean([part[name] for part in slices.values()])) for name in names}, slices


def image_profile(pixels: Pixels, answers: NDArray[np.float32], classes: Sequence[str]) -> Profile:
    """Light, contrast and colour of the images, and the labels and confidences answered: what drift is told by."""
    few = np.linspace(0, len(pixels) - 1, min(len(pixels), _LARGEST_PROFILE_ROWS)).astype(int)
    numeric = {name: _histogram(values, 0.0, 255.0) for name, values in image_statistics(pixels[few]).items()}
    counts = np.bincount(answers.argmax(1), minlength=len(classes))
    labels = CategoryProfile({name: int(count) for name, count in zip(classes, counts, strict=True) if count})
    confidence = _histogram(answers.max(1).astype(np.float64), 0.0, 1.0)
    return Profile(rows=len(few), numeric=numeric, outputs={"label": labels, "confidence": confidence})


def image_statistics(pixels: Pixels) -> dict[str, NDArray[np.float64]]:
    """Of each image, 0..255: mean light, its deviation, mean distance of the strongest and the weakest colour."""
    values: dict[str, list[float]] = {"brightness": [], "contrast": [], "colour": []}
    for image in pixels:
        light = image.mean(axis=2)
        values["brightness"].append(float(light.mean()))
        values["contrast"].append(float(light.std()))
        values["colour"].append(float((image.max(axis=2).astype(np.int16) - image.min(axis=2)).mean()))
    return {name: np.array(numbers) for name, numbers in values.items()}


def _top(answers: NDArray[np.float32], of: NDArray[np.int64], k: int) -> float:
    best = np.argpartition(answers, -k, axis=1)[:, -k:]
    return float((best == of[:, None]).any(axis=1).mean())


def _any_top(answers: NDArray[np.float32], right: Sequence[int], k: int) -> float:
    best = np.argpartition(answers, -k, axis=1)[:, -k:]
    return float(np.isin(best, right).any(axis=1).mean())


def _histogram(values: NDArray[np.float64], low: float, high: float) -> NumericProfile:
    counts, edges = np.histogram(np.clip(values, low, high), bins=_BINS, range=(low, high))
    return NumericProfile(
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        mean=float(values.mean()),
        std=float(values.std()),
    )


def _confusion_table(matrix: NDArray[np.int64], classes: Sequence[str]) -> str:
    if len(classes) <= _WIDEST_TABLE:
        lines = ["| true \\ predicted | " + " | ".join(classes) + " |", "|---" * (len(classes) + 1) + "|"]
        rows = zip(classes, matrix.tolist(), strict=True)
        return "\n".join(lines + [f"| {name} | " + " | ".join(map(str, row)) + " |" for name, row in rows])
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(wrong, axis=None)[::-1][:_PAIRS]
    pairs = [(int(i) // len(classes), int(i) % len(classes)) for i in order]
    lines = ["| true | predicted | images |", "|---|---|---|"]
    return "\n".join(lines + [f"| {classes[i]} | {classes[j]} | {wrong[i, j]} |" for i, j in pairs if wrong[i, j]])
