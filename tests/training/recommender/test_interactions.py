"""Tests of reading interactions and attributes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from models.errors import DataInvalid
from training.recommender.interactions import Columns, Corpus, build_corpus
from training.tables import read_table

COLUMNS = Columns(time="time", weight="plays", title="name")


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def corpus(folder: Path, events: str, users: str = "", items: str = "", columns: Columns = Columns()) -> Corpus:  # noqa: B008
    ids = ("user_id", "item_id")
    files = {"events.csv": events, "users.csv": users, "items.csv": items}
    read = {name: read_table(write(folder, name, text), text=ids) for name, text in files.items() if text}
    return build_corpus(read["events.csv"], columns, users=read.get("users.csv"), items=read.get("items.csv"))


EVENTS = "user_id,item_id,time,plays\n007,a,1,2\n7,a,2,1\n007,b,3,1\n007,a,5,3\n"


def test_ids_stay_text_and_events_of_a_pair_become_one(tmp_path: Path) -> None:
    result = corpus(tmp_path, EVENTS, columns=Columns(time="time", weight="plays"))
    assert result.user_ids == ("007", "7")
    assert result.item_ids == ("a", "b")
    assert result.dataset.interactions.toarray().tolist() == [[5, 1], [1, 0]]
    assert result.dataset.times is not None
    assert result.dataset.times.tolist() == [5, 3, 2]


def test_parquet_with_whole_numbers_gives_the_same_ids(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    pa.parquet.write_table(pa.table({"user_id": [7, 8], "item_id": ["a", "b"]}), path)
    result = build_corpus(read_table(path), Columns())
    assert result.user_ids == ("7", "8")
    assert result.dataset.times is None


def test_weights_may_be_written_with_thousands_separators(tmp_path: Path) -> None:
    result = corpus(tmp_path, 'user_id,item_id,plays\n1,2,"1,234"\n1,3,5\n', columns=Columns(weight="plays"))
    assert result.dataset.interactions.toarray().tolist() == [[1234, 5]]


def test_attributes_become_features_and_users_without_events_stay(tmp_path: Path) -> None:
    users = "user_id;age;tags\n7;30;x|y\nnew;40;y\n"
    items = "item_id,name,kind\nb,Bee,insect\na,Ay,letter\nc,,letter\n"
    result = corpus(tmp_path, EVENTS, users, items, COLUMNS)
    assert result.user_ids == ("007", "7", "new")
    assert result.item_ids == ("a", "b", "c")
    assert result.titles == ("Ay", "Bee", "")
    assert "tags=x" in result.user_encoder.names
    assert result.dataset.user_features is not None
    assert result.dataset.user_features.toarray()[0].tolist() == [0] * len(result.user_encoder.names)
    assert result.item_encoder.names == ("kind=insect", "kind=letter")
    assert result.dataset.item_features is not None
    assert result.dataset.item_features.toarray().tolist() == [[0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-02T00:00:00", 1704153600),
        ("1704153600", 1704153600),
        ("1704153600000", 1704153600),
        ("1704153600000000", 1704153600),
        ("1704153600000000000", 1704153600),
        ("2024-01-02", 1704153600),
        ("2024-01-02 00:00:00 UTC", 1704153600),
        ("2024-01-02T00:00:00.5Z", 1704153600),
    ],
)
def test_times_in_several_notations(tmp_path: Path, text: str, expected: int) -> None:
    result = corpus(tmp_path, f"user_id,item_id,time\n1,2,{text}\n", columns=Columns(time="time"))
    assert result.dataset.times is not None
    assert result.dataset.times.tolist() == [expected]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ("user,item_id\n1,2\n", "has no column 'user_id'; it has: user, item_id"),
        ("user_id,item_id,time,plays\n", "'events.csv' has no rows"),
        ("user_id,item_id,time,plays\n1,2,3,1\n,2,3,1\n", "column 'user_id' of 'events.csv' is empty in row 2"),
        ("user_id,item_id,time,plays\n1,2,3,0\n", "column 'plays' of 'events.csv' holds 0 in row 1"),
        ("user_id,item_id,time,plays\n1,2,3,many\n", "column 'plays' of 'events.csv' is not numeric"),
        ("user_id,item_id,time,plays\n1,2,noon,1\n", "column 'time' of 'events.csv' holds no times"),
        ("user_id,item_id,time,plays\n1,2,1704153600,1\n1,2,1704153600000,1\n", "it mixes units: row 1 holds"),
        ("user_id,item_id,time,plays\n1,2,3,nan\n", "column 'plays' of 'events.csv' has no number in row 1"),
        ("user_id,item_id,time,plays\n1,2\n", "cannot read 'events.csv'"),
        ("user_id,item_id,time,time\n1,2,3,4\n", "several columns named 'time'"),
    ],
)
def test_bad_events_say_what_is_wrong(tmp_path: Path, events: str, message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        corpus(tmp_path, events, columns=Columns(time="time", weight="plays"))


def test_an_attribute_row_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="more than one row for user_id '7'"):
        corpus(tmp_path, EVENTS, "user_id,age\n7,1\n7,2\n")


def test_attributes_with_a_time_are_as_of_the_last_interaction(tmp_path: Path) -> None:
    users = "user_id,time,city\n007,1,Bonn\n007,4,Rome\n007,9,Oslo\n7,,Bonn\n7,3,Rome\n"
    items = "item_id,time,name,kind\nb,1,Bee,x\na,1,Ay,x\nc,1,Cee,y\na,4,New,y\n"
    result = corpus(tmp_path, EVENTS, users, items, Columns(time="time", title="name"))
    assert result.user_ids == ("007", "7")
    # Oslo is not learned: no user lived there at the last interaction.
    assert result.user_encoder.names == ("city=Bonn", "city=Rome")
    assert result.dataset.user_features is not None
    assert result.dataset.user_features.toarray().tolist() == [[0, 1], [1, 0]]
    assert result.item_encoder.names == ("kind=x", "kind=y")
    assert result.dataset.item_features is not None
    assert result.dataset.item_features.toarray().tolist() == [[0, 1], [1, 0], [0, 1]]
    assert result.titles == ("New", "Bee", "Cee")


@pytest.mark.parametrize(
    ("users", "columns", "message"),
    [
        ("user_id,time,age\n7,1,1\n7,2,2\n", Columns(), "name the column of times of the interactions"),
        ("user_id,age\n7,1\n7,2\n", Columns(time="time"), "add a column 'time' that says from when on"),
        ("user_id,time,age\n7,noon,1\n", Columns(time="time"), "column 'time' of 'users.csv' holds no times"),
    ],
)
def test_attribute_rows_without_a_valid_time_are_an_error(
    tmp_path: Path, users: str, columns: Columns, message: str
) -> None:
    with pytest.raises(DataInvalid, match=message):
        corpus(tmp_path, EVENTS, users, columns=columns)


def test_the_time_is_no_attribute(tmp_path: Path) -> None:
    read = {
        name: read_table(write(tmp_path, name, text))
        for name, text in (("e.csv", EVENTS), ("u.csv", "user_id,time,a\n7,1,x\n"))
    }
    with pytest.raises(DataInvalid, match="it is no attribute"):
        build_corpus(read["e.csv"], Columns(time="time"), users=read["u.csv"], user_attributes=("time",))


def test_a_missing_or_empty_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="no file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(DataInvalid, match="is empty"):
        read_table(write(tmp_path, "empty.csv", ""))
    with pytest.raises(DataInvalid, match=r"cannot read 'not\.parquet'"):
        read_table(write(tmp_path, "not.parquet", "no"))
