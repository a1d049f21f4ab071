"""`training.save`: find out what the given model is, and save it as an artifact of the kind that can serve it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.errors import DataInvalid
from models.store.artifacts import Artifact, check_name
from training.fitted.estimators import save_estimator
from training.fitted.networks import save_module, save_onnx_file
from training.fitted.options import SaveOptions
from training.fitted.refusal import not_convertible
from training.fitted.text_weights import texts_of
from training.fitted.texts import save_texts


def save(
    model: Any,  # Any: a fitted model of any library, and rows of any form
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
    if len(set(map(str, classes))) != len(classes):
        raise DataInvalid("two classes have the same name")
    options = SaveOptions(name, description, tuple(map(str, classes)), promote, min_metric, store)
    if isinstance(model, str | os.PathLike):
        return save_onnx_file(Path(model), X, y, options)
    if _is_module(model):
        return _save_network(model, X, y, options)
    texts = texts_of(X)
    return save_estimator(model, X, y, options) if texts is None else save_texts(model, texts, y, options)


def _is_module(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _save_network(module: Any, given: Any, y: Any, options: SaveOptions) -> Artifact:
    shape = tuple(getattr(given, "shape", ()))
    if len(shape) == 2:
        return save_module(module, given, y, options)
    if len(shape) == 4 and shape[1] == 3 and options.classes:
        from training.fitted.images import save_image_network

        return save_image_network(module, given, y, options)
    needed = "rows (N, F), or images (N, 3, H, W) with the names of the classes"
    raise not_convertible(f"{type(module).__name__} takes {shape}, and the networks that are served take {needed}")
