"""Evaluate the recommendations of a running service: `python -m training.evaluate_service`."""

from __future__ import annotations

from training.command import run
from training.recommender.evaluate_service import Params, main

if __name__ == "__main__":
    run(main, Params, description="Evaluate the recommender of a running service, and compare it with its card.")
