"""Compare the recommendation algorithms: `python -m training.evaluate`."""

from __future__ import annotations

from training.command import run
from training.recommender.evaluate import Params, main

if __name__ == "__main__":
    run(main, Params, description="Compare recommendation algorithms on MovieLens-100K over several splits.")
