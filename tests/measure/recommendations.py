"""Measure milliseconds per batch of the stored recommender, by algorithm: `python -m tests.measure.recommendations`

It runs in this process, without HTTP, and prints the median processor time of batches of known users with ten items
each. Set OPENBLAS_NUM_THREADS=1 to exclude the time of waiting threads.
"""

from __future__ import annotations

import argparse
import statistics
import time

from models.recommender.online.predictor import Query, Recommender
from models.store.artifacts import find

BATCHES = (1, 16, 64)


def batch_ms(recommender: Recommender, model: str, size: int, rounds: int) -> float:
    """Return the median processor time of a batch in milliseconds."""
    users = recommender.contents.users
    times_ms = []
    for round_ in range(rounds + 3):
        chosen = [users[(round_ * size + place) % len(users)] for place in range(size)]
        queries = [Query(user, n=10, model=model) for user in chosen]
        started = time.process_time()
        recommender.recommend(queries)
        times_ms.append((time.process_time() - started) * 1000)
    return statistics.median(times_ms[3:])


def main() -> None:
    """Print a row per algorithm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="recommender", help="name of the artifact")
    parser.add_argument("--rounds", type=int, default=100, help="batches per figure")
    options = parser.parse_args()
    recommender = Recommender.load(find(options.name))
    print("| model | " + " | ".join(f"batch of {size}" for size in BATCHES) + " |")
    print("|---" * (len(BATCHES) + 1) + "|")
    for model in recommender.models:
        cells = [f"{batch_ms(recommender, model, size, options.rounds):.2f} ms" for size in BATCHES]
        print(f"| {model} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
