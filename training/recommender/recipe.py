"""The recipe of the default recommender. It also learns from the feedback that the service has collected."""

from __future__ import annotations

import os
from collections.abc import Sequence

from training.recipes import Recipe

FEEDBACK_VARIABLE = "MAKUNOUCHI_FEEDBACK_URL"


def feedback_options() -> Sequence[str]:
    """Return the option that names the service's feedback log, or nothing when no service has written one."""
    from training.recommender.feedback import existing_url

    url = existing_url(os.environ.get(FEEDBACK_VARIABLE))
    return ("--feedback", url) if url else ()


# 2: two-level is the default algorithm. 3: every algorithm.
RECIPE = Recipe(number=3, default_data="MovieLens-100K", options=feedback_options)
