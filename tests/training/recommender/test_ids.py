"""Tests of ids: text or whole numbers in the data, the same text in every response."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from models.errors import DataInvalid
from models.limits import MAX_ID_CHARACTERS
from models.recommender.registry import ALGORITHMS
from tests.models.recommender.checkerboard import ITEMS, USERS, checkerboard, make
from training.recommender.interactions import Columns, Corpus, build_corpus
from training.recommender.params import Params
from training.recommender.training_data import load
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


EVENTS = [(f"u{row % 5}", float(row % 4)) for row in range(40)]


def loaded(folder: Path, events: str, **files: str) -> Corpus:
    """Return the corpus of CSV files, read as the command does."""
    for name, text in (files | {"events": events}).items():
        (folder / f"{name}.csv").write_text(text)
    paths = {name: folder / f"{name}.csv" for name in files}
    users, items = paths.get("users"), paths.get("items")
    title = "title" if items else ""
    return load(Params(interactions=folder / "events.csv", users=users, items=items, title_column=title)).corpus


def csv(rows: Sequence[tuple[str, object]]) -> str:
    return "user_id,item_id\n" + "\n".join(f"{user},{item}" for user, item in rows)


def test_whole_numbers_with_decimals_join_whole_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = loaded(tmp_path, csv(EVENTS), items="item_id,title\n0,A\n1,B\n2,C\n9,Z\n")
    assert corpus.item_ids == ("0", "1", "2", "3", "9")
    assert corpus.titles == ("A", "B", "C", "", "Z")
    printed = capsys.readouterr().err
    assert "column 'item_id' of 'events.csv': whole numbers as 0.0, read as the id '0'" in printed
    assert "'items.csv': 3 of 4 ids in 'item_id' of 'events.csv' have a row; 1 more ids have no events" in printed
    assert "20 of 40 rows repeat a user and an item: their weights are added" in printed
    assert "warning" not in printed


@pytest.mark.parametrize("kind", [pa.float64(), pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_every_parquet_type_joins(tmp_path: Path, kind: pa.DataType) -> None:
    numbers = [str(int(item)) for _, item in EVENTS]
    ids = pa.array(numbers).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(numbers).cast(kind)
    times = pa.array(["2024-01-02T00:00:00Z"] * len(EVENTS)).cast(pa.large_string())
    events = pa.table({"user_id": [user for user, _ in EVENTS], "item_id": ids, "t": times})
    pa.parquet.write_table(events, tmp_path / "e.parquet")
    pa.parquet.write_table(pa.table({"item_id": [0, 1, 2, 3], "title": list("ABCD")}), tmp_path / "i.parquet")
    corpus = load(
        Params(interactions=tmp_path / "e.parquet", items=tmp_path / "i.parquet", title_column="title", time_column="t")
    ).corpus
    assert dict(zip(corpus.item_ids, corpus.titles, strict=True)) == {"0": "A", "1": "B", "2": "C", "3": "D"}
    assert corpus.dataset.times is not None
    assert set(corpus.dataset.times.tolist()) == {1_704_153_600}


def test_a_join_without_a_match_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded(tmp_path, csv(EVENTS), users="user_id,title\nU0,x\nU1,y\n", items="item_id,title\n0,A\n")
    printed = " ".join(capsys.readouterr().err.split())
    assert "'users.csv': 0 of 5 ids in 'user_id' of 'events.csv' have a row; 2 more ids have no events" in printed
    assert "ids are written as 'u0' in one and as 'U0' in the other" in printed
    assert "'items.csv': 1 of 4 ids" in printed


def test_words_for_missing_values_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = loaded(tmp_path, csv([*EVENTS, ("NULL", 1.0), ("NULL", 2.0)]))
    assert "NULL" in corpus.user_ids
    printed = " ".join(capsys.readouterr().err.split())
    assert "warning: column 'user_id' of 'events.csv': 'NULL' in 2 rows is taken for an id" in printed


def test_an_id_in_two_notations_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = loaded(tmp_path, csv([("u1", "12"), ("u2", "12.0"), ("u2", "13.0"), ("u3", "x")]))
    assert corpus.item_ids == ("12", "12.0", "13.0", "x")
    printed = " ".join(capsys.readouterr().err.split())
    assert "of 'events.csv': 1 ids are written in two ways, such as '12.0' and '12'" in printed


def test_ids_that_requests_cannot_name_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    longest = "i" * MAX_ID_CHARACTERS
    events = [*EVENTS, ("u1", longest), ("u1", longest + "i"), ("u2", longest + "ii")]
    corpus = loaded(tmp_path, csv(events), items=f"item_id,title\n{longest},A\n{longest}i,B\n0,C\n")
    assert longest in corpus.item_ids
    assert max(map(len, corpus.item_ids)) == MAX_ID_CHARACTERS
    printed = " ".join(capsys.readouterr().err.split())
    assert "column 'item_id' of 'events.csv': 2 rows left out" in printed
    assert "column 'item_id' of 'items.csv': 1 rows left out" in printed
    with pytest.raises(DataInvalid, match="has no id of at most 256 characters"):
        loaded(tmp_path, csv([("u1", longest + "i")]))
