"""Requests of a scenario and their expected results, computed from the files of the artifact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import artifacts
from benchmarks.images import jpeg_images
from benchmarks.peers.workloads.image import OpenVinoImages
from benchmarks.peers.workloads.recommender import Factors, read_texts
from benchmarks.peers.workloads.tabular import OnnxTabular
from benchmarks.scenarios import Kind, Scenario

_SEED = 5
_CASES = 64
_IMAGES = 8
# The class of an image is compared only if its probability exceeds that of the second class by this much.
_MIN_MARGIN = 0.15
_TOLERANCE = 1e-3
_MIN_OVERLAP = 0.9


@dataclass(frozen=True, slots=True)
class Case:
    """A request before it is encoded for a server. `expected` is None if several results are correct."""

    request: Any  # Any: JSON, or the bytes of an image
    expected: Any


def make_cases(scenario: Scenario) -> list[Case]:
    """Return the cases of a scenario. Raises FileNotFoundError if the artifact is missing."""
    folder = scenario.artifact()
    if folder is None:
        return overhead_cases()
    match scenario.kind:
        case "image":
            return image_cases(folder, scenario.image_size)
        case "recommender":
            return recommender_cases(folder)
        case _:
            return tabular_cases(folder)


def accepts(kind: Kind, result: Any, expected: Any) -> bool:
    """Return whether a result equals the expected one within rounding errors, or ties in the order of items."""
    match kind:
        case "overhead":
            return math.isclose(result, expected, rel_tol=1e-4, abs_tol=1e-3)
        case "tabular":
            return np.shape(result) == np.shape(expected) and bool(np.allclose(result, expected, atol=_TOLERANCE))
        case "image":
            return bool(result == expected)
        case _:
            overlap = len(set(result) & set(expected))
            return len(result) == len(expected) and overlap >= _MIN_OVERLAP * len(expected)


def overhead_cases(count: int = _CASES) -> list[Case]:
    """Return requests of 30 random floats and their sums."""
    values = np.random.default_rng(_SEED).uniform(0, 10, size=(count, 30)).round(3).tolist()
    return [Case({"values": row}, math.fsum(row)) for row in values]


def tabular_cases(folder: Path, *, rows: int = 1, count: int = _CASES) -> list[Case]:
    """Return `count` requests of `rows` random rows within the ranges and categories of the card."""
    model = OnnxTabular(folder)
    table = random_rows(artifacts.read_card(folder)["inputs"], rows * count)
    requests = [{"instances": table[start : start + rows]} for start in range(0, len(table), rows)]
    results = model.predict([model.preprocess(request) for request in requests])
    return [Case(request, result["probabilities"]) for request, result in zip(requests, results, strict=True)]


def random_rows(columns: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return rows that match the columns of a card. The rows are the same in every run."""
    random = np.random.default_rng(_SEED)

    def value(column: dict[str, Any]) -> Any:
        if column["kind"] == "category":
            return str(random.choice(column["categories"]))
        if column["kind"] == "boolean":
            return bool(random.integers(2))
        low, high = column["minimum"] or 0.0, column["maximum"] or 1.0
        if column["kind"] == "integer":
            return int(random.integers(int(low), int(high) + 1))
        return random.uniform(low, high)

    return [{column["name"]: value(column) for column in columns} for _ in range(count)]


def image_cases(folder: Path, size: tuple[int, int], *, count: int = _IMAGES) -> list[Case]:
    """Return JPEG files and their most likely classes."""
    model = OpenVinoImages(folder)
    cases = []
    for encoded in jpeg_images(size, count):
        probabilities = model.probabilities(np.stack([model.preprocess(encoded)]))[0]
        second, best = np.sort(probabilities)[-2:]
        is_clear = best - second >= _MIN_MARGIN
        cases.append(Case(encoded, int(probabilities.argmax()) if is_clear else None))
    return cases


def recommender_cases(folder: Path, *, count: int = _CASES) -> list[Case]:
    """Return requests of random users and their ten best items."""
    model = Factors(folder)
    users = read_texts(folder / "users")
    rows = np.random.default_rng(_SEED).choice(len(users), min(count, len(users)), replace=False)
    # The requests name the algorithm: the default may combine several models, but peers compute one matrix product.
    requests = [{"user_id": users[row], "n": 10, "model": model.algorithm} for row in sorted(rows.tolist())]
    # One request at a time: the scores of all users would need gigabytes for a large catalogue.
    results = [model.predict([model.preprocess(request)])[0] for request in requests]
    return [
        Case(request, [item["id"] for item in result["items"]])
        for request, result in zip(requests, results, strict=True)
    ]
