"""The settings of text classifiers."""

from __future__ import annotations

from pydantic import Field

from serving.settings.settings import Placement, Settings


class TextSettings(Settings):
    """The settings of the service with those of text classifiers."""

    text_model: str = Field(
        "", description="Tag or source of the text classifier, such as `text:latest`; none is served when empty."
    )
    text_placement: Placement = Field("process", description="Placement of the text runner.")
    max_texts: int = Field(256, gt=0, description="Maximum number of texts in one request to the text classifier.")
