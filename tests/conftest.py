"""What every test gets: no usage tracking, and the fixtures that train the real, small models."""

from __future__ import annotations

import os

os.environ["BENTOML_DO_NOT_TRACK"] = "True"

pytest_plugins = [
    "tests.fixtures_default",
    "tests.fixtures_image",
    "tests.fixtures_tabular",
    "tests.fixtures_recommender",
]
