"""Tests of the tables for the feature store."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from models.errors import DataInvalid
from models.recommender.dataset.feature_files import FOLDER, read_feature_tables
from training.recommender.attributes import encode_attributes
from training.recommender.feature_tables import FeatureTables, age_and_occupation, feature_tables, memberships, write
from training.tables import Table


def table(name: str, **columns: object) -> Table:
    return Table(name=name, sha256="0" * 64, data=pa.table(columns))


def test_the_store_reads_the_written_tables(tmp_path: Path) -> None:
    users = table("users", user=["007", "8"], age=["30", ""], sex=["F", "M"])
    items = table("items", item=[1, 2], title=["A", "B"], year=["1999", None], genres=["Drama|War", "Comedy"])
    write(feature_tables(users, items, None, user="user", item="item", title="title"), tmp_path)

    store = read_feature_tables(tmp_path / FOLDER)

    assert store.users.values("007") == {"age": 30, "sex": "F"}
    assert store.users.values("8") == {"age": None, "sex": "M"}
    assert store.items.values("1") == {"year": 1999, "genres": ["Drama", "War"]}
    assert (store.items.category_column(), store.items.year_column()) == ("genres", "year")


def test_blanks_around_the_words_of_a_list_are_not_part_of_them(tmp_path: Path) -> None:
    items = table("items", item=["1", "2"], genres=["Drama | War", " Comedy"])
    write(feature_tables(None, items, None, user="user", item="item"), tmp_path)
    store = read_feature_tables(tmp_path / FOLDER).items
    encoder = encode_attributes(items, "item", ["1", "2"]).encoder
    assert store.values("1") == {"genres": ["Drama", "War"]}
    assert encoder.names == ("genres=Comedy", "genres=Drama", "genres=War")


def test_times_are_written_as_the_store_reads_them(tmp_path: Path) -> None:
    users = table("users", user=["a", "a", "b"], time=["2024-01-02", "", "2999-01-01"], age=[2, 1, 3])
    write(feature_tables(users, None, None, user="user", item="item"), tmp_path)
    store = read_feature_tables(tmp_path / FOLDER)
    assert (store.users.values("a"), store.users.values("b")) == ({"age": 2}, None)


def test_without_tables_the_folder_is_empty(tmp_path: Path) -> None:
    write(FeatureTables(), tmp_path)
    assert not read_feature_tables(tmp_path / FOLDER).has_users


def test_groups_are_one_column_with_kinds_or_a_column_for_each_kind() -> None:
    listed = memberships(table("g", u=["a", "b"], group=["x", None], kind=["k", "k"]), user="u").to_pylist()
    assert listed == [{"user_id": "a", "group": "x", "kind": "k"}]
    wide = memberships(table("g", u=["a"], city=["Bonn"], team=["red"]), user="u").to_pylist()
    assert [(each["kind"], each["group"]) for each in wide] == [("city", "Bonn"), ("team", "red")]
    blank = memberships(table("g", u=["a", "b", "c"], team=["", " ", " red"]), user="u").to_pylist()
    assert blank == [{"user_id": "c", "group": "red", "kind": "team"}]
    with pytest.raises(DataInvalid, match="no column of groups"):
        memberships(table("g", u=["a"]), user="u")


def test_movielens_users_are_grouped_by_age_band_and_occupation() -> None:
    users = table("users", user_id=["1", "2", "3"], age=["17", "25", "70"], occupation=["a", "b", "a"])
    store = [(each["user_id"], each["kind"], each["group"]) for each in age_and_occupation(users).to_pylist()]
    assert store[:3] == [("1", "age", "under 18"), ("2", "age", "25-34"), ("3", "age", "56 and over")]
    assert store[3:] == [("1", "occupation", "a"), ("2", "occupation", "b"), ("3", "occupation", "a")]
