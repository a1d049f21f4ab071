"""Items are read by number, and the limits on their number and size hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import InputTooLarge
from serving.jobs.storage.item_file import ITEMS, ItemWriter, JobItem, read_items

items = st.lists(
    st.builds(lambda name, body: JobItem({"name": name}, body), st.text(), st.binary(max_size=50)), max_size=9
)


@given(items, st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_any_range_of_items_is_read(tmp_path: Path, given: list[JobItem], start: int, number: int) -> None:
    given = [JobItem({"name": each.head["name"].encode("utf-8", "replace").decode()}, each.body) for each in given]
    with ItemWriter(tmp_path, max_items=9, max_bytes=10_000) as writer:
        for item in given:
            writer.add(item)

    assert read_items(tmp_path, start, start + number) == given[start : start + number]


@pytest.mark.parametrize(("max_bytes", "number"), [(1, 1), (103, 1), (206, 2), (308, 2), (309, 3), (10_000, 3)])
def test_fewer_items_are_read_where_they_are_large(tmp_path: Path, max_bytes: int, number: int) -> None:
    with ItemWriter(tmp_path, max_items=9, max_bytes=10_000) as writer:
        for _ in range(4):
            writer.add(JobItem({}, b"x" * 100))

    assert len(read_items(tmp_path, 1, 4, max_bytes=max_bytes)) == number


def test_one_item_too_many_is_refused(tmp_path: Path) -> None:
    with ItemWriter(tmp_path, max_items=1, max_bytes=1000) as writer:
        writer.add(JobItem({}))
        with pytest.raises(InputTooLarge, match="at most 1 items"):
            writer.add(JobItem({}))


def test_one_byte_too_many_is_refused(tmp_path: Path) -> None:
    with ItemWriter(tmp_path, max_items=9, max_bytes=10) as writer:
        writer.add(JobItem({}, b"1234567"))
        with pytest.raises(InputTooLarge, match="10 bytes"):
            writer.add(JobItem({}))


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    with ItemWriter(tmp_path, max_items=9, max_bytes=1000) as writer:
        writer.add(JobItem({}, b"body"))
    (tmp_path / ITEMS).write_bytes(b"{}")

    with pytest.raises(ValueError, match="truncated"):
        read_items(tmp_path, 0, 1)
