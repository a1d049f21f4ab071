from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.errors import ArtifactInvalid
from models.recommender.dataset.encoding import Attribute, Encoder
from models.recommender.dataset.feature_check import check_attributes
from models.recommender.dataset.feature_files import read_feature_tables
from models.recommender.dataset.feature_store import FeatureStore
from models.recommender.dataset.ids import IdIndex
from models.recommender.online.item_metadata import build_item_metadata


def write(folder: Path, name: str, **columns: object) -> None:
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def test_columns_keep_their_kind(tmp_path: Path) -> None:
    write(
        tmp_path,
        "users",
        user_id=["a", "b"],
        age=[30, None],
        gender=["F", ""],
        tags=[["x", "y"], None],
        ok=[True, False],
    )

    users = read_feature_tables(tmp_path).users

    assert users.values("a") == {"age": 30, "gender": "F", "tags": ["x", "y"], "ok": 1}
    assert users.values("b") == {"age": None, "gender": None, "tags": [], "ok": 0}
    assert users.values("c") is None


def test_the_latest_row_that_is_not_in_the_future_applies(tmp_path: Path) -> None:
    write(tmp_path, "users", user_id=["a", "a", "a", "b"], time=[100, 50, 9_999_999_999, None], age=[2, 1, 3, 9])

    users = read_feature_tables(tmp_path).users

    assert users.values("a") == {"age": 2}
    assert users.values("b") == {"age": 9}


def test_a_row_without_an_id_is_ignored(tmp_path: Path) -> None:
    write(tmp_path, "users", user_id=[None, "a"], age=[1, 2])

    users = read_feature_tables(tmp_path).users

    assert len(users.ids) == 1
    assert users.values("a") == {"age": 2}


def test_ids_and_times_are_read_in_every_notation(tmp_path: Path) -> None:
    write(tmp_path, "users", user_id=[7.0, None, 8.0], time=[1_704_153_600_000, 0, 4_102_444_800_000], age=[1, 2, 3])
    write(tmp_path, "items", item_id=pa.array(["12.0", "13.0"], pa.large_string()), year=[1999, 2000])
    write(tmp_path, "groups", user_id=[7.0], group=["x"])
    tables = read_feature_tables(tmp_path, now=1_800_000_000)
    # 2024-01-02 in milliseconds is past; 2100 is not.
    assert (tables.users.values("7"), tables.users.values("8")) == ({"age": 1}, None)
    assert tables.items.values("12") == {"year": 1999}
    assert tables.groups.members == (("7",),)


def test_a_column_of_an_unsupported_type_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "users", user_id=["a"], time=[[1]])

    with pytest.raises(ArtifactInvalid, match="the feature tables cannot be read: column 'time' is list"):
        read_feature_tables(tmp_path)


def test_a_missing_file_is_an_empty_table(tmp_path: Path) -> None:
    features = read_feature_tables(tmp_path)
    assert not features.has_users
    assert features.users.values("a") is None
    assert features.groups.names == ()


def test_metadata_of_items_are_in_the_order_of_the_artifact(tmp_path: Path) -> None:
    write(tmp_path, "items", item_id=["1", "2"], release_year=[1999.0, None], genres=[["Drama", "Comedy"], ["Horror"]])

    metadata = build_item_metadata(read_feature_tables(tmp_path).items, IdIndex.of(["2", "?", "1"]))

    assert [metadata.categories_of(row) for row in range(3)] == [("Horror",), (), ("Drama", "Comedy")]
    assert [metadata.year(row) for row in range(3)] == [None, None, 1999]
    assert metadata.is_present.tolist() == [True, False, True]
    assert metadata.has_any(["drama", "horror"]).tolist() == [True, False, True]
    assert metadata.has_any(["nothing"]).tolist() == [False] * 3


def test_groups_are_read_by_kind(tmp_path: Path) -> None:
    write(tmp_path, "groups", user_id=["a", "b", "a"], group=["x", "x", "y"], kind=["k", "k", "j"])
    groups = read_feature_tables(tmp_path).groups
    assert groups.names == ("y", "x")
    assert groups.kinds == ("j", "k")
    assert groups.members == (("a",), ("a", "b"))


def test_changed_files_are_reloaded_after_the_time_to_live(tmp_path: Path) -> None:
    now = 0.0
    write(tmp_path, "users", user_id=["a"], age=[1])
    store = FeatureStore(tmp_path, ttl_s=10, clock=lambda: now)
    write(tmp_path, "users", user_id=["a", "b"], age=[2, 3])
    os.utime(tmp_path / "users.parquet", ns=(1, 1))

    now = 9.0
    assert store.current().users.values("a") == {"age": 1}
    now = 10.0
    store.current()
    store.wait()
    assert store.current().users.values("a") == {"age": 2}


def test_a_row_in_the_future_applies_from_its_time_on(tmp_path: Path) -> None:
    now = 100.0
    write(tmp_path, "users", user_id=["a", "a", "b"], time=[50, 200, 300], age=[1, 2, 3])
    store = FeatureStore(tmp_path, ttl_s=1, clock=lambda: now, now=lambda: now)
    assert (store.current().users.values("a"), store.current().changes_at) == ({"age": 1}, 200)

    now = 199.0
    store.current()
    store.wait()
    assert store.current().users.values("a") == {"age": 1}

    now = 200.0
    store.current()
    store.wait()
    assert store.current().users.values("a") == {"age": 2}
    assert (store.current().users.values("b"), store.current().changes_at) == (None, 300)


def test_unreadable_tables_do_not_replace_the_previous_ones(tmp_path: Path) -> None:
    now = 0.0
    write(tmp_path, "users", user_id=["a"], age=[1])
    store = FeatureStore(tmp_path, ttl_s=1, clock=lambda: now)
    (tmp_path / "users.parquet").write_bytes(b"not parquet")

    now = 2.0
    store.current()
    store.wait()
    assert store.current().users.values("a") == {"age": 1}
    with pytest.raises(ArtifactInvalid, match="cannot be read"):
        read_feature_tables(tmp_path)

    write(tmp_path, "users", user_id=["a"], age=[7])
    now = 4.0
    store.current()
    store.wait()
    assert store.current().users.values("a") == {"age": 7}


def test_a_table_without_its_id_column_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "items", title=["x"])
    with pytest.raises(ArtifactInvalid):
        read_feature_tables(tmp_path)


def test_years_may_have_any_numeric_type(tmp_path: Path) -> None:
    write(tmp_path, "items", item_id=["1"], year=np.array([2001], np.int16))
    assert build_item_metadata(read_feature_tables(tmp_path).items, IdIndex.of(["1"])).year(0) == 2001


def test_tables_that_do_not_match_the_model_do_not_replace_the_previous_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = Encoder((Attribute("age", "number", edges=(30.0,)), Attribute("town", "category", values=("Bonn",))))
    check = partial(check_attributes, users=numbers, items=Encoder(()))
    write(tmp_path, "users", user_id=["a"], age=[30], town=["Bonn"])
    store = FeatureStore(tmp_path, ttl_s=0.0, check=check)
    for age in (["old"], [["30"]]):
        write(tmp_path, "users", user_id=["a", "b"], age=[*age, *age], town=["Bonn", "Ulm"])
        store.current()
        store.wait()
        assert store.current().users.values("a") == {"age": 30, "town": "Bonn"}
        store.wait()
    assert "column 'age' of users.parquet holds 'old'; the model was trained with numbers" in caplog.text
    write(tmp_path, "users", user_id=["a"], age=["31"], town=[None])
    store.current()
    store.wait()
    assert store.current().users.values("a") == {"age": "31", "town": None}
    write(tmp_path, "users", user_id=["a"], age=["x"])
    with pytest.raises(ArtifactInvalid, match="holds 'x'"):
        FeatureStore(tmp_path, check=check)
