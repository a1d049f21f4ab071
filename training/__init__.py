"""Training scripts: `python -m training.<kind>` trains, evaluates and saves an artifact.

`save` saves a model that is fitted already.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.store.artifacts import Artifact


def save(
    model: Any,  # Any: a fitted model of any library
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
    """Save a fitted `model` as the artifact `name`, and return it. Serving it runs no code of the model's library.

    `model` is an estimator or pipeline of scikit-learn, LightGBM, XGBoost or CatBoost, a pipeline that classifies
    texts, a `torch.nn.Module`, or the path of an ONNX file. `X` are rows that it takes: a DataFrame, an array, a list
    of texts, or example inputs. The card's columns come from them, and all of them are compared with what is served.
    `y` are the true values of these rows. The metrics are measured on them: give rows that the model has not seen.

    `classes` are names for the classes, in the model's order. `promote`: `latest` names the new version in any case.
    `min_metric`: save nothing below this main metric. `store` is the model store, by default BentoML's.

    Raises DataInvalid for rows that the model or a request cannot use, NotConvertible for a model that no format
    without code can hold, ParityNotMet where what is served differs from the model by more than 1e-4, and GateNotMet.
    Then nothing is saved.
    """
    # Imported by name: a change of these modules does not retrain the models that the tests cache.
    saved: Artifact = importlib.import_module("training.fitted.save").save(
        model,
        X,
        y,
        name=name,
        classes=classes,
        description=description,
        promote=promote,
        min_metric=min_metric,
        store=store,
    )
    return saved
