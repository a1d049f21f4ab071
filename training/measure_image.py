"""Measure an image classifier on this machine: `python -m training.measure_image`."""

from __future__ import annotations

from training.command import run
from training.image.benchmark import Params, main

if __name__ == "__main__":
    run(main, Params, description="Measure an image classifier and the decoding of images on this machine.")
