"""The questions that every server of a scenario is asked, and the right answers, computed from the artifacts' files.

Knows artifacts and arithmetic; how a question is put to each server is `payloads`'.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks import artifacts
from benchmarks.photographs import photographs

Kind = Literal["overhead", "tabular", "image", "recommender"]

_SEED = 5
_CASES = 64
_IMAGES = 8
# A photograph counts as one with a right answer only where the best class leads by this much.
_CLEAR_MARGIN = 0.15
_TOLERANCE = 1e-3
_SAME_ITEMS = 0.9


@dataclass(frozen=True, slots=True)
class Case:
    """One question before it is put in any server's words. `expected` is None where there is no one right answer."""

    request: Any  # Any: JSON, or the bytes of an image
    expected: Any


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to measure. `artifact` is what peers load, None where nothing is loaded."""

    key: str
    kind: Kind
    title: str
    connections: tuple[int, ...]
    rates_per_s: tuple[int, ...] = ()
    image_size: tuple[int, int] = (0, 0)
    artifact_name: str = ""
    catalogue: int = 0
    is_brief: bool = False  # fewer servers take part
    length: int = 1  # of one load, in times the length asked for: few requests a second need more seconds

    def artifact(self) -> Path | None:
        """The artifact's folder. Raises FileNotFoundError that says what to do when it is missing."""
        if self.catalogue:
            return artifacts.synthetic_catalogue(self.catalogue)
        if not self.artifact_name:
            return None
        found = artifacts.newest(self.artifact_name)
        if found is None:
            raise FileNotFoundError(f"no artifact '{self.artifact_name}' in the model store; run: make train")
        return found


SCENARIOS = (
    Scenario("overhead", "overhead", "30 floats to their sum", (1, 16, 64, 256), (500, 2000)),
    Scenario(
        "tabular", "tabular", "German credit, one row a request", (1, 16, 64, 256), (200, 1000), artifact_name="tabular"
    ),
    Scenario(
        "image-500-lite0",
        "image",
        "500x375 JPEG, EfficientNet-Lite0",
        (1, 16),
        (20, 60),
        image_size=(500, 375),
        artifact_name="image",
        length=2,
    ),
    Scenario(
        "image-500-lite0-bf16",
        "image",
        "500x375 JPEG, EfficientNet-Lite0 computed in bfloat16",
        (16,),
        image_size=(500, 375),
        artifact_name="image-bf16",
        is_brief=True,
        length=2,
    ),
    Scenario(
        "image-1024-lite0",
        "image",
        "1024x1024 JPEG, EfficientNet-Lite0",
        (16,),
        image_size=(1024, 1024),
        artifact_name="image",
        is_brief=True,
        length=2,
    ),
    Scenario(
        "image-500-resnet18",
        "image",
        "500x375 JPEG, ResNet-18",
        (16,),
        image_size=(500, 375),
        artifact_name="image-resnet18",
        is_brief=True,
        length=2,
    ),
    Scenario(
        "image-1024-resnet18",
        "image",
        "1024x1024 JPEG, ResNet-18",
        (16,),
        image_size=(1024, 1024),
        artifact_name="image-resnet18",
        is_brief=True,
        length=2,
    ),
    Scenario("recommender-ml100k", "recommender", "MovieLens-100K, n=10", (16, 64), artifact_name="recommender"),
    Scenario("recommender-1m", "recommender", "1,000,000 items x 64, n=10", (16,), catalogue=1_000_000, length=4),
)


def make_cases(scenario: Scenario) -> list[Case]:
    """The scenario's questions with their answers. Raises FileNotFoundError when an artifact is missing."""
    folder = scenario.artifact()
    if scenario.kind == "overhead" or folder is None:
        return overhead_cases()
    makers: dict[str, Callable[[], list[Case]]] = {
        "tabular": lambda: tabular_cases(folder),
        "image": lambda: image_cases(folder, scenario.image_size),
        "recommender": lambda: recommender_cases(folder),
    }
    return makers[scenario.kind]()


def accepts(kind: Kind, found: Any, expected: Any) -> bool:
    """Whether an answer is as good as the expected one: equal but for rounding, or for ties among items."""
    if kind == "overhead":
        return math.isclose(found, expected, rel_tol=1e-4, abs_tol=1e-3)
    if kind == "tabular":
        return np.shape(found) == np.shape(expected) and bool(np.allclose(found, expected, atol=_TOLERANCE))
    if kind == "image":
        return bool(found == expected)
    return len(found) == len(expected) and len(set(found) & set(expected)) >= _SAME_ITEMS * len(expected)


def overhead_cases(count: int = _CASES) -> list[Case]:
    values = np.random.default_rng(_SEED).uniform(0, 10, size=(count, 30)).round(3).tolist()
    return [Case({"values": row}, math.fsum(row)) for row in values]


def tabular_cases(folder: Path, *, rows: int = 1, count: int = _CASES) -> list[Case]:
    """Random rows within the ranges and categories of the card, `rows` in each request."""
    from benchmarks.peers.workloads.tabular import OnnxTabular

    model = OnnxTabular(folder)
    table = random_rows(artifacts.read_card(folder)["inputs"], rows * count)
    requests = [{"instances": table[start : start + rows]} for start in range(0, len(table), rows)]
    answers = model.answers([model.item(request) for request in requests])
    return [Case(request, answer["probabilities"]) for request, answer in zip(requests, answers, strict=True)]


def random_rows(columns: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Rows that the columns of a card allow, the same ones every time."""
    random = np.random.default_rng(_SEED)

    def value(column: dict[str, Any]) -> Any:
        if column["kind"] == "category":
            return str(random.choice(column["categories"]))
        if column["kind"] == "boolean":
            return bool(random.integers(2))
        low, high = column["minimum"] or 0.0, column["maximum"] or 1.0
        return (
            int(random.integers(int(low), int(high) + 1)) if column["kind"] == "integer" else random.uniform(low, high)
        )

    return [{column["name"]: value(column) for column in columns} for _ in range(count)]


def image_cases(folder: Path, size: tuple[int, int], *, count: int = _IMAGES) -> list[Case]:
    from benchmarks.peers.workloads.image import OpenVinoImages

    model = OpenVinoImages(folder)
    cases = []
    for encoded in photographs(size, count):
        probabilities = model.probabilities(np.stack([model.item(encoded)]))[0]
        second, best = np.sort(probabilities)[-2:]
        clear = best - second >= _CLEAR_MARGIN
        cases.append(Case(encoded, int(probabilities.argmax()) if clear else None))
    return cases


def recommender_cases(folder: Path, *, count: int = _CASES) -> list[Case]:
    from benchmarks.peers.workloads.recommender import Factors, read_texts

    model = Factors(folder)
    users = read_texts(folder / "users")
    chosen = np.random.default_rng(_SEED).choice(len(users), min(count, len(users)), replace=False)
    # By name: the default of an artifact may be more than one product of matrices, which is what the peers compute.
    requests = [{"user_id": users[row], "n": 10, "model": model.algorithm} for row in sorted(chosen.tolist())]
    # One by one: the scores of all at once would be gigabytes for a large catalogue.
    answers = [model.answers([model.item(request)])[0] for request in requests]
    return [
        Case(request, [item["id"] for item in answer["items"]])
        for request, answer in zip(requests, answers, strict=True)
    ]
