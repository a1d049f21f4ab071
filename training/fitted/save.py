"""`training.save`: find out what the given model is, and save it as an artifact of the kind that can serve it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.store.artifacts import Artifact, check_name
from training.fitted.estimators import save_estimator
from training.fitted.options import SaveOptions
from training.fitted.text_weights import texts_of
from training.fitted.texts import save_texts


def save(
    model: Any,
    X: Any,  # noqa: N803  (scikit-learn's name)
    y: Any = None,
    *,
    name: str,
    classes: Sequence[str] = (),
    description: str = "",
    promote: bool = False,
    min_metric: float | None = None,
    store: Path | None = None,
) -> Artifact:
    """See `training.save`."""
    check_name(name)
    options = SaveOptions(name, description, tuple(map(str, classes)), promote, min_metric, store)
    texts = texts_of(X)
    if texts is not None:
        return save_texts(model, texts, y, options)
    return save_estimator(model, X, y, options)
