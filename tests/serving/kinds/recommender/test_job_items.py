"""Users become items, whatever they are written in."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InvalidInput
from serving.errors.exceptions import FieldFault, Malformed
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.task import CSV, NDJSON
from serving.jobs.storage.item_file import read_items
from tests.serving.jobs.decoding.uploads import heads
from tests.serving.jobs.job_fixtures import order


def test_users_come_as_json_with_options(tmp_path: Path) -> None:
    decoded = decode(
        order(tmp_path, b'{"user_ids":["a",7],"n":3,"explain":true}', "application/json", "recommendations")
    )
    assert decoded.options == {"n": 3, "explain": True}
    assert [item.head for item in read_items(tmp_path, 0, 9)] == [{"user_id": "a"}, {"user_id": "7"}]


def test_users_come_as_lines(tmp_path: Path) -> None:
    lines = b'"a"\n7\n{"user_id":"c","history":["1"]}\n{"user_id":""}\nnull\n{"user_id":"d","x":1}\n{"'
    found = heads(tmp_path, lines, NDJSON, "recommendations")
    assert found[:3] == [{"user_id": "a"}, {"user_id": "7"}, {"user_id": "c", "history": ["1"]}]
    assert all("fault" in head for head in found[3:])

    assert heads(tmp_path, "user_id\na\n\n7\n", CSV, "recommendations") == [{"user_id": "a"}, {"user_id": "7"}]


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
def test_users_that_are_none_are_refused(tmp_path: Path, data: bytes, kind: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        decode(order(tmp_path, data, kind, "recommendations"))
