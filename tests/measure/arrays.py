"""Measure the recommender's data structures against simpler alternatives: `python -m tests.measure.arrays`

Ids in a dict or in `IdIndex`; numbers from a memoryview or an array; ranks by a sort of integers or a stable argsort;
similar users of a new user by counting or by a product of normalised matrices. Times are medians, memory is the peak.
"""

from __future__ import annotations

import argparse
import tracemalloc

import numpy as np
from scipy import sparse

from models.recommender.algorithms.neighbours import normalise_rows
from models.recommender.dataset.dataset import Dataset, binary, csr
from models.recommender.dataset.ids import IdIndex, StringArray
from models.recommender.online.users import _overlap
from models.recommender.ranking.candidates import _stable_argsort
from tests.measure.timing import median_ms

_READS = 200_000
_REPEATS = 5


def main(options: argparse.Namespace) -> None:
    """Print a line for each comparison."""
    random = np.random.default_rng(0)
    _ids(options.ids)
    _numbers(random)
    _ranks(random)
    _similar_users(random, options.interactions)


def _ids(count: int) -> None:
    tracemalloc.start()
    by_id = {f"{number:07}": number for number in range(count)}
    dict_mb = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    index = IdIndex.of(list(by_id))
    own = sum(len(text) for text in by_id)
    size = sum(array.nbytes for array in index.arrays().values())
    print(f"{count:,} ids: dict {dict_mb:.0f} MB, arrays {size / 1e6:.0f} MB: {(size - own) / count:.1f} bytes each")


def _numbers(random: np.random.Generator) -> None:
    texts = StringArray.of(map(str, range(10_000)))
    rows = random.integers(0, len(texts), _READS).tolist()
    view, array = texts._offsets, texts._ends

    def read(numbers: memoryview | np.ndarray) -> None:
        for row in rows:
            numbers[row]

    ours_ms, array_ms = median_ms(lambda: read(view), _REPEATS), median_ms(lambda: read(array), _REPEATS)
    print(f"{_READS:,} numbers: view {ours_ms:.1f} ms, array {array_ms:.1f} ms")


def _ranks(random: np.random.Generator) -> None:
    for shape in ((1, 1_682), (256, 1_682), (16, 100_000)):
        scores = random.normal(size=shape).astype(np.float32)
        ours_ms = median_ms(lambda scores=scores: _stable_argsort(scores), _REPEATS)  # type: ignore[misc]
        stable_ms = median_ms(lambda scores=scores: np.argsort(scores, axis=1, kind="stable"), _REPEATS)  # type: ignore[misc]
        print(f"ranks {shape}: integer sort {ours_ms:.2f} ms, stable argsort {stable_ms:.2f} ms")


def _similar_users(random: np.random.Generator, interactions: int) -> None:
    users, items = 138_000, 27_000
    ends = np.sort(random.integers(0, interactions, users - 1))
    indptr = np.concatenate(([0], ends, [interactions]))
    columns = random.integers(0, items, interactions).astype(np.int32)
    dataset = Dataset(csr(np.ones(interactions, np.float32), columns, indptr, (users, items)))
    own = np.sort(random.choice(items, 50, replace=False))

    def product() -> None:
        wanted = sparse.csr_array((np.ones(50, np.float32), own, [0, 50]), shape=(1, items))
        (normalise_rows(binary(dataset.interactions)) @ normalise_rows(wanted).T).toarray()

    for what, call in (("counted", lambda: _overlap(dataset, own)), ("product", product)):
        tracemalloc.start()
        call()
        peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        print(f"{interactions:,} interactions: {what} {median_ms(call, _REPEATS):.0f} ms, {peak_mb:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=1_000_000)
    parser.add_argument("--interactions", type=int, default=20_000_000)
    main(parser.parse_args())
