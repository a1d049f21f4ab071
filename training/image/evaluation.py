"""Evaluate an image classifier: metrics overall and by photograph, confusion matrix, and histograms for drift."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, top_k_accuracy_score

from models.card import Metrics
from models.image.preprocessing import Pixels
from models.profile import CategoryProfile, Profile
from training.histograms import numeric_profile
from training.image.photographs import PHOTOGRAPHS, Views
from training.report import REPORT_FILE

CONFUSION_FILE = "confusion.json"

_WIDEST_TABLE = 20
_PAIRS = 20
_LARGEST_PROFILE_ROWS = 2_000


def scores(answers: NDArray[np.float32], of: NDArray[np.int64]) -> dict[str, float]:
    """Return top-1, top-5 where there are more than five classes, and mean log loss of probabilities (N, C)."""
    labels = np.arange(answers.shape[1])
    metrics = {"top1": float(accuracy_score(of, answers.argmax(axis=1)))}
    if len(labels) > 5:
        metrics["top5"] = float(top_k_accuracy_score(of, answers, k=5, labels=labels))
    # Not scikit-learn's log_loss: it clips at the precision of float32 and warns about rounded sums of probabilities.
    of_class = np.maximum(answers[np.arange(len(of)), of], 1e-9)
    return metrics | {"log_loss": float(-np.log(of_class).mean())}


def write_confusion(matrix: NDArray[np.int64], classes: Sequence[str], folder: Path) -> None:
    """Write `confusion.json`, and add the matrix, or the most confused pairs, to the report."""
    content = {"rows": "true class", "columns": "predicted class", "classes": list(classes), "counts": matrix.tolist()}
    (folder / CONFUSION_FILE).write_text(json.dumps(content))
    with (folder / REPORT_FILE).open("a") as report:
        report.write("\n## Confusion\n\n" + _confusion_table(matrix, classes) + "\n")


def photograph_scores(
    answers: NDArray[np.float32], views: Views, labels: Sequence[str]
) -> tuple[dict[str, float], dict[str, Metrics]]:
    """Return the share of views with a correct label at rank 1, or among the first three, overall and by photograph."""
    slices: dict[str, Metrics] = {}
    for index, photograph in enumerate(PHOTOGRAPHS):
        correct = [labels.index(label) for label in photograph.labels if label in labels]
        if correct:
            own = answers[views.of == index]
            slices[f"photograph={photograph.name}"] = {
                "photographs_top1": _any_top_k(own, correct, 1),
                "photographs_top3": _any_top_k(own, correct, 3),
                "mean_probability": float(own[:, correct].sum(1).mean()),
                "views": float(len(own)),
            }
    names = ("photographs_top1", "photographs_top3")
    return {name: float(np.mean([part[name] for part in slices.values()])) for name in names}, slices


def image_profile(pixels: Pixels, answers: NDArray[np.float32], classes: Sequence[str]) -> Profile:
    """Return histograms of brightness, contrast and colour, and of predicted labels and confidences, for drift."""
    rows = np.linspace(0, len(pixels) - 1, min(len(pixels), _LARGEST_PROFILE_ROWS)).astype(int)
    numeric = {
        name: numeric_profile(values, limits=(0.0, 255.0)) for name, values in image_statistics(pixels[rows]).items()
    }
    counts = np.bincount(answers.argmax(1), minlength=len(classes))
    labels = CategoryProfile({name: int(count) for name, count in zip(classes, counts, strict=True) if count})
    confidence = numeric_profile(answers.max(1), limits=(0.0, 1.0))
    return Profile(rows=len(rows), numeric=numeric, outputs={"label": labels, "confidence": confidence})


def image_statistics(pixels: Pixels) -> dict[str, NDArray[np.float64]]:
    """Return, for each image and from 0 to 255: mean brightness, its deviation, and the mean range of the colours."""
    values: dict[str, list[float]] = {"brightness": [], "contrast": [], "colour": []}
    for image in pixels:
        light = image.mean(axis=2)
        values["brightness"].append(float(light.mean()))
        values["contrast"].append(float(light.std()))
        values["colour"].append(float((image.max(axis=2).astype(np.int16) - image.min(axis=2)).mean()))
    return {name: np.array(numbers) for name, numbers in values.items()}


def _any_top_k(answers: NDArray[np.float32], correct: Sequence[int], k: int) -> float:
    best = np.argpartition(answers, -k, axis=1)[:, -k:]
    return float(np.isin(best, correct).any(axis=1).mean())


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
