"""Users from JSON, NDJSON and CSV as items of a job, and their results as columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InvalidInput
from serving.errors.exceptions import FieldFault, Malformed
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.task import CSV, NDJSON
from serving.jobs.storage.item_file import read_items
from serving.kinds.recommender.job_items import COLUMNS, export_columns
from tests.serving.jobs.decoding.uploads import heads
from tests.serving.jobs.job_fixtures import decode_task

USERS = "serving.kinds.recommender.job_items:decode_users"


def test_users_from_json_with_options(tmp_path: Path) -> None:
    decoded = decode(
        decode_task(tmp_path, b'{"user_ids":["a",7],"n":3,"explain":true}', "application/json", USERS, columns=COLUMNS)
    )
    assert decoded.options == {"n": 3, "explain": True}
    assert [item.head for item in read_items(tmp_path, 0, 9)] == [{"user_id": "a"}, {"user_id": "7"}]


def test_users_from_lines(tmp_path: Path) -> None:
    lines = b'"a"\n7\n{"user_id":"c","history":["1"]}\n{"user_id":""}\nnull\n{"user_id":"d","x":1}\n{"'
    users = heads(tmp_path, lines, NDJSON, USERS, columns=COLUMNS)
    assert users[:3] == [{"user_id": "a"}, {"user_id": "7"}, {"user_id": "c", "history": ["1"]}]
    assert all("fault" in head for head in users[3:])

    assert heads(tmp_path, "user_id\na\n\n7\n", CSV, USERS, columns=COLUMNS) == [{"user_id": "a"}, {"user_id": "7"}]


@pytest.mark.parametrize(
    ("data", "kind", "error"),
    [
        (b"", "application/json", Malformed),
        (b"{", "application/json", Malformed),
        (b'{"user_ids":[]}', "application/json", FieldFault),
        (b'{"user_ids":[null]}', "application/json", FieldFault),
        (b'{"user_ids":["a"],"n":0}', "application/json", FieldFault),
        (b"name\na\n", CSV, InvalidInput),
        (b"user_id\n", CSV, InvalidInput),
        (b"\n", NDJSON, InvalidInput),
    ],
)
def test_a_body_without_users_is_refused(tmp_path: Path, data: bytes, kind: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        decode(decode_task(tmp_path, data, kind, USERS, columns=COLUMNS))


def test_items_become_a_column_of_ids_and_json() -> None:
    items = [{"item_id": "1"}, {"item_id": "2"}]

    assert export_columns("items", items) == {"item_ids": "1 2", "items": '[{"item_id":"1"},{"item_id":"2"}]'}
    assert export_columns("reason", None) is None
