"""Hostile uploads of a few kilobytes cost little memory and time, in a child process."""

from __future__ import annotations

import resource
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from models.card import Column
from models.errors import InputTooLarge, InvalidInput, UnsupportedMedia
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.fork_server import ChildLimits
from serving.jobs.decoding.sandbox import Sandbox, decoded
from serving.jobs.decoding.task import CSV, NDJSON, PARQUET, TASK_ADAPTER, DecodeLimits
from tests import hostile_files
from tests.hostile_files import ARCHIVES, TABLES
from tests.serving.jobs.decoding.uploads import heads, items
from tests.serving.jobs.job_fixtures import FILES, TABLE, decode_task, tarred, zipped

COLUMNS = tuple(Column(name, "number", required=False, nullable=True) for name in "ab")
LIMITS = DecodeLimits(max_unpacked_bytes=128 << 20)
# Before the uploads were bounded, single ones of these took 60 s and 4 GiB.
MAX_CPU_S, MAX_MIB = 10, 512


def measured(payload: bytes) -> bytes:
    """Decode a task, and return the outcome with the processor time and the memory of this process."""
    outcome = orjson.loads(decoded(payload))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return orjson.dumps([outcome, usage.ru_utime + usage.ru_stime, usage.ru_maxrss >> 10])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ARCHIVES, *TABLES])
def test_hostile_uploads_are_cheap(name: str, tmp_path: Path, sandbox: Sandbox) -> None:
    content_type, make = {**ARCHIVES, **TABLES}[name]
    data = make()
    limits = LIMITS.for_upload(len(data))
    decoder = FILES if name in ARCHIVES else TABLE
    task = decode_task(tmp_path, data, content_type, decoder, limits=limits, columns=COLUMNS)

    output = sandbox.call(
        f"{__name__}:measured",
        TASK_ADAPTER.dump_json(task),
        ChildLimits(limits.max_memory_bytes, 2 * limits.max_unpacked_bytes, cpu_s=MAX_CPU_S, wall_s=60),
    )

    assert output is not None, f"it took more than {MAX_CPU_S} s, or the decoder failed"
    _, cpu_s, peak_mib = orjson.loads(output)
    assert cpu_s < MAX_CPU_S
    assert peak_mib < MAX_MIB


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (hostile_files.tar_of_pax_digits, InputTooLarge, "header"),
        (hostile_files.tar_of_zeros, InputTooLarge, "unpacks to more"),
        (hostile_files.zip_of_overlapping_members, InputTooLarge, "unpacks to more"),
        (hostile_files.tar_with_damaged_header, InvalidInput, "damaged"),
        (lambda: hostile_files.tar_bz2_of_zeros(1), UnsupportedMedia, "bzip2; send zip, tar or tar.gz"),
        (lambda: hostile_files.tar_xz_of_zeros(1), UnsupportedMedia, "xz; send zip, tar or tar.gz"),
    ],
)
def test_hostile_archives_are_refused(
    make: Callable[[], bytes], error: type[Exception], says: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        decode(decode_task(tmp_path, make(), "application/zip", FILES, limits=LIMITS))


def test_files_over_the_item_limit_count_although_they_are_not_read(tmp_path: Path) -> None:
    # Each is 101,000 bytes, with a limit of 100,000 for an item and of 1,000,000 for the archive.
    few, many = ({f"{number}.png": bytes(101_000) for number in range(count)} for count in (9, 10))
    for make in (zipped, tarred):
        assert {item.head["kind"] for item in items(tmp_path, make(few), "application/zip", FILES)} == {"too-large"}
        with pytest.raises(InputTooLarge, match="unpacks to more"):
            decode(decode_task(tmp_path, make(many), "application/zip", FILES))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_of_other_compressions_fail_with_the_remedy(method: int, tmp_path: Path) -> None:
    (item,) = items(tmp_path, zipped({"a.png": b"x"}, method=method), "application/zip", FILES)
    assert item.head["fault"] == "its compression method is not supported; use deflate"


def test_a_header_of_many_columns_takes_linear_time(tmp_path: Path) -> None:
    begun = time.process_time()
    with pytest.raises(InvalidInput, match="there are no columns 'c0', 'c1'"):
        decode(decode_task(tmp_path, hostile_files.csv_of_columns(), CSV))
    # It took 40 s.
    assert time.process_time() - begun < 2


@pytest.mark.slow
def test_a_record_is_bounded_like_a_line(tmp_path: Path) -> None:
    with pytest.raises(InputTooLarge, match="a row is longer than"):
        decode(decode_task(tmp_path, b'age,sex\n1,"' + b"a\n" * (1 << 20) + b'"\n', CSV, limits=LIMITS))
    # Many records are longer than a line together.
    assert len(heads(tmp_path, b"age,sex\n" + b'1,"a\nb"\n' * 150_000, CSV, limits=LIMITS)) == 150_000


def test_a_row_with_more_members_than_columns_fails_without_the_others(tmp_path: Path) -> None:
    wide, row = hostile_files.ndjson_of_fields(1000, 1), b'{"age":1,"sex":"a"}\n'
    first, second = heads(tmp_path, wide + row, NDJSON)
    assert first == {"fault": "the row has 1000 members, and the model 4 columns"}
    assert second == {"row": {"age": 1, "sex": "a"}}


def test_nested_columns_are_refused(tmp_path: Path) -> None:
    data = hostile_files.parquet_of_long_list("b", 3)
    with pytest.raises(InvalidInput, match="the column 'b' has several values in a row"):
        decode(decode_task(tmp_path, data, PARQUET, columns=COLUMNS))
