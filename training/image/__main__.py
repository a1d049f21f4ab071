"""Entry point of `python -m training.image`."""

from __future__ import annotations

from training.command import run
from training.image.params import Params
from training.image.train import main

if __name__ == "__main__":
    run(main, Params, description="Train an image classifier, or save a published one, into the model store.")
