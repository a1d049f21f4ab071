"""The settings of tabular models."""

from __future__ import annotations

from pydantic import Field

from serving.settings.settings import Placement, Settings


class TabularSettings(Settings):
    """The settings of the service with those of tabular models."""

    tabular_model: str = Field("tabular:latest", description="Tag or source of the tabular model.")
    tabular_placement: Placement = Field("process", description="Placement of the tabular runner.")
    max_rows: int = Field(1000, gt=0, description="Maximum number of rows in one tabular request.")
    cache_tables: bool = Field(
        True, description="Whether tabular predictions are cached. The cache slows down rows that never repeat."
    )
