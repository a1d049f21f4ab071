"""The settings of recommenders."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from serving.settings.settings import Placement, Settings

_URL = re.compile(r"[a-z][a-z0-9_+]*://")


class RecommenderSettings(Settings):
    """The settings of the service with those of recommenders."""

    recommender_model: str = Field("recommender:latest", description="Tag or source of the recommender.")
    recommender_placement: Placement = Field("process", description="Placement of the recommender runner.")
    max_bulk_users: int = Field(50, gt=0, description="Maximum number of users in one bulk recommendation request.")
    features: str = Field(
        "", description="Folder of the recommender's feature tables; next to the artifact when empty."
    )
    features_ttl_s: float = Field(
        60.0, gt=0, description="Interval at which the feature tables are checked for changes."
    )
    feedback_url: str = Field(
        "", description="SQLAlchemy URL of the feedback log; a SQLite file next to the model store when empty."
    )
    feedback_window_days: float = Field(
        90.0, gt=0, description="Age up to which feedback influences recommendations before the next training."
    )
    max_feedback_events: int = Field(1000, gt=0, description="Maximum number of events in one feedback request.")
    recommendations_max_age_s: int = Field(0, ge=0, description="`max-age` of responses to GET of recommendations.")

    @field_validator("feedback_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value and not _URL.match(value):
            raise ValueError("expected a URL, such as sqlite:////srv/feedback.db or postgresql+psycopg://host/name")
        return value
