"""Milliseconds per batch of the recommender in the store, by model: python -m tests.measure.recommendations

In this process, without HTTP: what the runner itself takes. Processor time, so that other work of the machine counts
little; the median of many batches of known users, ten items each. OPENBLAS_NUM_THREADS=1 keeps threads that wait out of
it.
"""

from __future__ import annotations

import argparse
import statistics
import time

from models.recommender.online.predictor import Query, Recommender
from models.store.artifacts import find

BATCHES = (1, 16, 64)


def batch_ms(recommender: Recommender, model: str, size: int, rounds: int) -> float:
    """Median milliseconds of processor time of one batch."""
    users = recommender.contents.users
    taken = []
    for round_ in range(rounds + 3):
        chosen = [users[(round_ * size + place) % len(users)] for place in range(size)]
        queries = [Query(user, n=10, model=model) for user in chosen]
        started = time.process_time()
        recommender.recommend(queries)
        taken.append((time.process_time() - started) * 1000)
    return statistics.median(taken[3:])


def main() -> None:
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
