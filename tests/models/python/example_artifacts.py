"""Artifacts of the classes of `example_classes`, in a store of a test."""

from __future__ import annotations

import json
from pathlib import Path

from models.store.artifacts import Artifact
from training.python.params import Params
from training.python.save import save

MODULE = "tests.models.python.example_classes"
WORDS = {"good": 1, "bad": -1}


def saved(
    class_name: str, store: Path, *, name: str = "example", words: dict[str, float] | None = None, example: str = ""
) -> Artifact:
    """Save an artifact of a class. `words` are the weights of `Sentiment`."""
    weights = store.parent / "weights"
    weights.mkdir(exist_ok=True)
    (weights / "words.json").write_text(json.dumps(words or WORDS))
    return save(Params(class_=f"{MODULE}:{class_name}", weights=weights, name=name, example=example), store=store)
