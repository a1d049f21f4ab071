"""The type of one attribute of a user or an item."""

from __future__ import annotations

from collections.abc import Sequence

FeatureValue = str | int | float | bool | Sequence[str] | None
