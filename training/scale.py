"""Train at the scale of MovieLens-20M: `python -m training.scale`."""

from __future__ import annotations

from training.command import run
from training.recommender.scale import Params, main

if __name__ == "__main__":
    run(
        main,
        Params,
        description="Train one recommender on 20 million synthetic interactions, and print time, memory and quality.",
    )
