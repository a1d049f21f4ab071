"""Any upload is decoded to items or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError, InputTooLarge, UnsupportedMedia
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.task import CSV, NDJSON, PARQUET
from serving.jobs.storage.item_file import read_items
from tests.serving.jobs.decoding.uploads import fuzz
from tests.serving.jobs.job_fixtures import decode_task


def test_more_items_than_a_limit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputTooLarge, match="at most 1000"):
        decode(decode_task(tmp_path, b"age,sex\n" + b"1,a\n" * 1001, CSV))


def test_text_of_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedMedia, match="latin-1"):
        decode(decode_task(tmp_path, b"age,sex\n1,a\n", "text/csv; charset=latin-1"))


@given(
    st.sampled_from([CSV, NDJSON, PARQUET, "multipart/form-data; boundary=B"]), st.binary(max_size=300), st.booleans()
)
@fuzz
def test_any_bytes_are_items_or_refused(tmp_path: Path, kind: str, data: bytes, is_like: bool) -> None:
    starts = {CSV: b"age,sex\n", NDJSON: b'{"age":', PARQUET: b"PAR1"}
    like = starts.get(kind, b'--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n')
    try:
        decode(decode_task(tmp_path, like + data if is_like else data, kind))
    except InputError:
        return
    assert read_items(tmp_path, 0, 1)
