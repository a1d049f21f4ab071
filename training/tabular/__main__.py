"""Entry point of `python -m training.tabular`."""

from __future__ import annotations

from training.command import run
from training.tabular.params import Params
from training.tabular.train import main

if __name__ == "__main__":
    run(
        main,
        Params,
        description="Train a classifier or a regression model of one table and save it into the model store.",
    )
