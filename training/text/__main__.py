"""Entry point of `python -m training.text`."""

from __future__ import annotations

from training.command import run
from training.text.params import Params
from training.text.train import main

if __name__ == "__main__":
    run(main, Params, description="Train a classifier of texts and save it for serving.")
