"""Entry point of `python -m training.python`."""

from __future__ import annotations

from training.command import run
from training.python.params import Params
from training.python.save import main

if __name__ == "__main__":
    run(main, Params, description="Save the weights of a class of your own for serving.")
