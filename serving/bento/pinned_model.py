"""A version that a Bento is built with, and the alias by which the model list names it."""

from __future__ import annotations

from typing import Any

import attrs
from _bentoml_sdk.models import BentoModel  # type: ignore[import-untyped]


@attrs.frozen
class _PinnedModel(BentoModel):  # type: ignore[misc]
    alias: str = ""

    def to_info(self, alias: str | None = None) -> Any:  # Any: BentoML's description of a model
        return super().to_info(alias or self.alias or None)


def pinned_model(tag: str, alias: str = "") -> Any:  # Any: a model of BentoML
    """Return a model of the store. BentoML writes its exact version and the alias into `bento.yaml`."""
    pinned: Any = _PinnedModel
    return pinned(tag, alias)
