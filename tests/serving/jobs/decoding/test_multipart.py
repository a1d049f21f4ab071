"""The file parts of a form as items."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.errors.exceptions import FieldFault, Malformed
from serving.jobs.decoding.decode import decode
from tests.serving.jobs.decoding.uploads import form, heads, items, parquet
from tests.serving.jobs.job_fixtures import FILES, decode_task, zipped


def test_a_form_has_files_and_an_archive(tmp_path: Path) -> None:
    body, kind = form(
        ('name="files"; filename="a.png"', "", b"one\r\n--"),
        ('name="archive"; filename="b.zip"', "", zipped({"b.png": b"two"})),
        ('name="files"', "Content-Type: image/png\r\n", b"x" * 100_001),
    )

    read = items(tmp_path, body, kind, FILES)

    assert [(item.head["name"], item.body) for item in read] == [("a.png", b"one\r\n--"), ("b.png", b"two"), ("", b"")]
    assert read[2].head["kind"] == "too-large"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ends", "items"]


@pytest.mark.parametrize(
    ("name", "more", "data"),
    [
        ("t.csv", "", b"age,sex\n1,a\n"),
        ("t.ndjson", "", b'{"age":1,"sex":"a"}'),
        ("t.PARQUET", "", parquet([{"age": 1, "sex": "a"}])),
        ("t", "Content-Type: text/csv\r\n", b"age,sex\n1,a\n"),
        ("t", "", parquet([{"age": 1, "sex": "a"}])),
        ("t", "Content-Type: application/octet-stream\r\n", b"age,sex\n1,a\n"),
    ],
)
def test_the_format_of_a_table_follows_its_type_its_name_or_its_first_bytes(
    tmp_path: Path, name: str, more: str, data: bytes
) -> None:
    body, kind = form((f'name="file"; filename="{name}"', more, data))

    assert heads(tmp_path, body, kind) == [{"row": {"age": 1, "sex": "a"}}]


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (*form(('name="colour"; filename="a"', "", b"")), FieldFault),
        (*form(('name="file"', "", b"text")), FieldFault),
        (*form(('name="file"; filename="a"', "", b"age,sex\n1,a"), ('name="file"; filename="a"', "", b"")), FieldFault),
        (*form(), FieldFault),
        (form(('name="file"; filename="a"', "", b"age"))[0][:-9], "multipart/form-data; boundary=B", Malformed),
        (b"x", "multipart/form-data", Malformed),
    ],
)
def test_an_invalid_form_is_refused(tmp_path: Path, body: bytes, kind: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        decode(decode_task(tmp_path, body, kind))
