"""Measure the search for misspelled titles, its accuracy and time: `python -m tests.measure.title_search`

The queries are the titles of the stored recommender with two letters changed, omitted or added, then `--titles`
generated titles from the same words. "rapidfuzz alone" compares with every title.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Sequence

from rapidfuzz import fuzz, process

from models.recommender.online.predictor import Recommender
from models.recommender.online.title_search import TitleSearch, normalise
from models.store.artifacts import find

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def main(options: argparse.Namespace) -> None:
    """Print a line for each catalog."""
    contents = Recommender.load(find(options.name)).contents
    titles = [contents.titles[row] for row in range(len(contents.items))]
    draw = random.Random(0)  # noqa: S311  (which letters are wrong)
    _report(titles, range(len(titles)), draw)
    words = [word for title in titles for word in title.split()]
    generated = [" ".join(draw.choices(words, k=4)) for _ in range(options.titles)]
    _report(generated, draw.sample(range(len(generated)), 200), draw)


def _report(titles: Sequence[str], rows: Sequence[int], draw: random.Random) -> None:
    search, normal = TitleSearch(titles), [normalise(title) for title in titles]
    first = among_five = 0
    ours_ms, alone_ms = [], []
    for number, row in enumerate(rows):
        query = _mistyped(normalise(titles[row]), draw)
        started = time.process_time()
        suggested = [normal[each] for each, _ in search.find(query)[:5]]
        ours_ms.append(1e3 * (time.process_time() - started))
        first += suggested[:1] == [normal[row]]
        among_five += normal[row] in suggested
        if number < 20:
            started = time.process_time()
            process.extract(query, normal, scorer=fuzz.WRatio, limit=5)
            alone_ms.append(1e3 * (time.process_time() - started))
    print(
        f"{len(titles):,} titles: first for {first / len(rows):.1%}, among five for {among_five / len(rows):.1%}; "
        f"{statistics.median(ours_ms):.1f} ms, rapidfuzz alone {statistics.median(alone_ms):.1f} ms"
    )


def _mistyped(text: str, draw: random.Random) -> str:
    for _ in range(2):
        place, letter = draw.randrange(len(text)), draw.choice(LETTERS)
        text = text[:place] + draw.choice((letter, "", letter + text[place])) + text[place + 1 :]
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="recommender", help="name of the artifact")
    parser.add_argument("--titles", type=int, default=200_000, help="number of generated titles")
    main(parser.parse_args())
