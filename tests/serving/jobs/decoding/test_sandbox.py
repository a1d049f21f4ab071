"""Decoding in a child process has the same results and errors, and only the child ends when it exceeds a limit."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from models.errors import InputError
from serving.errors.exceptions import FieldFault
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.sandbox import decode_in_child
from serving.jobs.decoding.task import PARQUET, DecodeLimits
from tests.serving.jobs.decoding.uploads import ROW, form, parquet
from tests.serving.jobs.job_fixtures import decode_task

pytestmark = pytest.mark.slow


def test_a_child_process_returns_and_raises_the_same(tmp_path: Path) -> None:
    data = parquet([ROW] * 3)
    here = decode(decode_task(tmp_path, data, PARQUET))
    assert decode_in_child(decode_task(tmp_path, data, PARQUET)) == here

    with pytest.raises(FieldFault, match="file part") as refused:
        decode_in_child(decode_task(tmp_path, *form(('name="file"', "", b""))))
    assert refused.value.location == ("body", "file")
    assert refused.value.value_type == "string"


def test_an_upload_that_needs_too_much_memory_ends_only_the_child(tmp_path: Path) -> None:
    # A small file with hundreds of megabytes of text.
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 64, pyarrow.int32()), ["x" * (4 << 20)])
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(
        pyarrow.table({"age": [1] * 64, "sex": column.cast(pyarrow.string())}), buffer, compression="zstd"
    )
    limits = DecodeLimits(max_memory_bytes=400 << 20)
    assert decode_in_child(decode_task(tmp_path, parquet([ROW]), PARQUET, limits=limits)).total == 1

    with pytest.raises(InputError):
        decode_in_child(decode_task(tmp_path, buffer.getvalue(), PARQUET, limits=limits))
