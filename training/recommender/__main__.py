"""Entry point of `python -m training.recommender`."""

from __future__ import annotations

from training.command import run
from training.recommender.params import Params
from training.recommender.train import main

if __name__ == "__main__":
    run(
        main,
        Params,
        description="Train a recommender on MovieLens-100K, or on files of your own, and save it into the model store.",
    )
