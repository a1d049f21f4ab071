"""A version that `bentoml build` pins, with the alias that named it: a container has no aliases of the model store."""

from __future__ import annotations

from typing import Any

import bentoml


def pinned_model(tag: str, alias: str = "") -> Any:  # Any: a BentoModel, whose package has no types
    """Return the model of `tag` for `Service.models`. The entry in `bento.yaml` gets the `alias`, if there is one."""

    class PinnedModel(bentoml.models.BentoModel):  # type: ignore[misc]  # its package has no types
        def to_info(self, _: str | None = None) -> Any:
            return super().to_info(alias or None)

    return PinnedModel(tag)
