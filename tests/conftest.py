"""What every test gets: no usage tracking, the same examples each time, and fixtures that train real, small models."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ["BENTOML_DO_NOT_TRACK"] = "True"

# Whether a test passes depends on the code alone: on no machine's pace, and on no luck. `--hypothesis-profile=search`
# looks for new examples.
_ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", _ANY_PACE)
settings.register_profile("steady", _ANY_PACE, derandomize=True)
settings.load_profile("steady")

pytest_plugins = [
    "tests.fixtures_default",
    "tests.fixtures_image",
    "tests.fixtures_tabular",
    "tests.fixtures_recommender",
]
