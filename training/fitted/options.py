"""The options of `training.save` that every kind of model shares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """The name of the artifact and how it is saved.

    `classes` are names for the classes, in the model's order. `promote`: the new version becomes the one that `latest`
    names in any case. `min_metric`: nothing is saved below this main metric.
    """

    name: str
    description: str = ""
    classes: tuple[str, ...] = ()
    promote: bool = False
    min_metric: float | None = None
    store: Path | None = None
