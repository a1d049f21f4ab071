"""Tests of ids: text or whole numbers in the data, the same text in every response."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from models.recommender.registry import ALGORITHMS
from tests.models.recommender.checkerboard import ITEMS, USERS, checkerboard, make
from training.recommender.interactions import Columns, Corpus, build_corpus
from training.tables import read_table


def board(folder: Path, kind: pa.DataType) -> Corpus:
    """Return the checkerboard from parquet files with ids of type `kind`."""

    def ids(values: list[int]) -> pa.Array:
        return pa.array(values, pa.int64()).cast(kind)

    events = checkerboard().interactions.tocoo()
    tables = {
        "events": {"user_id": ids(events.row.tolist()), "item_id": ids(events.col.tolist())},
        "users": {"user_id": ids(list(range(USERS))), "colour": [f"c{row % 2}" for row in range(USERS)]},
        "items": {"item_id": ids(list(range(ITEMS))), "colour": [f"c{row % 2}" for row in range(ITEMS)]},
    }
    read = {}
    for name, columns in tables.items():
        pa.parquet.write_table(pa.table(columns), folder / f"{name}.parquet")
        read[name] = read_table(folder / f"{name}.parquet")
    return build_corpus(read["events"], Columns(), users=read["users"], items=read["items"])


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_numbers_and_text_are_the_same_ids(name: str, tmp_path: Path) -> None:
    answers = []
    for kind in (pa.int64(), pa.string()):
        corpus = board(tmp_path, kind)
        rows, _ = make(name).fit(corpus.dataset).recommend(np.arange(USERS), 3)
        answers.append(
            {
                user: [corpus.item_ids[item] for item in own if item >= 0]
                for user, own in zip(corpus.user_ids, rows, strict=True)
            }
        )
    assert answers[0] == answers[1]
    assert set(answers[0]) == {str(user) for user in range(USERS)}
