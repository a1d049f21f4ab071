"""Every form of an upload becomes items; what spoils one item is its own fault, what spoils all is refused."""

from __future__ import annotations

import csv
import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import InputError, InputTooLarge, InvalidInput, UnsupportedMedia
from serving.errors import FieldFault, Malformed
from serving.jobs.decoding.child import decode_in_child
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.order import CSV, NDJSON, PARQUET, UPLOAD, DecodeLimits, Order
from serving.jobs.packed import Item, read_items
from tests.serving.jobs.given import order, tarred, zipped

HEADER = "age,sex,income,owns\n"
ROW = {"age": 33, "sex": "male", "income": None, "owns": True}
fuzz = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


def items(folder: Path, data: bytes | str, content_type: str, kind: Any = "tabular", **more: Any) -> list[Item]:
    """What an upload becomes."""
    sent = data.encode() if isinstance(data, str) else data
    decoded = decode(order(folder, sent, content_type, kind, **more))
    assert not (folder / UPLOAD).exists()
    found = read_items(folder, 0, decoded.total + 1)
    assert len(found) == decoded.total
    return found


def heads(*args: Any, **more: Any) -> list[dict[str, Any]]:
    return [dict(item.head) for item in items(*args, **more)]


def test_cells_are_values_of_their_columns(tmp_path: Path) -> None:
    text = "\ufeff" + HEADER + '33,male,,true\r\n\n" 3 ",,1e3,0\n-1,"a ""b""\n,c",.5,FALSE\nx,5,1_0,maybe\n'

    assert [head["row"] for head in heads(tmp_path, text, CSV)] == [
        ROW,
        {"age": 3, "sex": "", "income": 1000.0, "owns": False},
        {"age": -1, "sex": 'a "b"\n,c', "income": 0.5, "owns": False},
        {"age": "x", "sex": "5", "income": "1_0", "owns": "maybe"},
    ]


def test_columns_come_in_any_order_and_those_that_are_not_needed_may_be_left_out(tmp_path: Path) -> None:
    assert heads(tmp_path, "sex,age\nmale,33\n", CSV) == [{"row": {"sex": "male", "age": 33}}]


def test_a_row_of_another_length_fails_alone(tmp_path: Path) -> None:
    found = heads(tmp_path, "age,sex\n1,a\n2\n3,c,d\n4,e\n", CSV)

    assert ["fault" in head for head in found] == [False, True, True, False]
    assert found[1]["fault"] == "the row has 1 cells, and the header 2"


def test_a_column_that_is_not_the_model_s_names_the_rows(tmp_path: Path) -> None:
    found = heads(tmp_path, "key,age,sex\nr1,1,a\n", CSV, id_column="key")
    assert found == [{"id": "r1", "row": {"age": 1, "sex": "a"}}]

    assert heads(tmp_path, "age,sex\n1,a\n", CSV, id_column="sex")[0]["id"] == "a"
    lines = b'{"age":1,"sex":"a","key":7}\n{"age":1,"sex":"a","key":[7]}\n'
    first, second = heads(tmp_path, lines, NDJSON, id_column="key")
    assert (first["id"], first["row"]) == (7, {"age": 1, "sex": "a"})
    assert "fault" in second


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (HEADER.encode(), "no row"),
        (b"age,sex,colour\n", "no column 'colour'"),
        (b"age,age,sex\n", "twice"),
        (b"age\n1\n", "'sex' is missing"),
        (b"age;sex\n1;a\n", "no column 'age;sex'"),
        (b"age,sex\n1,\xff\n", "not UTF-8"),
        ("age,sex\n1,ä\n".encode("utf-16"), "not UTF-8"),
        (b'age,sex\n1,"a\n2,b\n', "no CSV"),
        (b'age,sex\n1,"a"b\n', "line 2 is no CSV"),
        (b"\x89PNG\r\n\x1a\n", "not UTF-8"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        decode(order(tmp_path, data, CSV))


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    for content_type in (CSV, NDJSON):
        with pytest.raises(InputTooLarge, match="longer than"):
            decode(order(tmp_path, b"a" * (1 << 20), content_type))


def test_more_items_than_a_limit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputTooLarge, match="at most 1000"):
        decode(order(tmp_path, b"age,sex\n" + b"1,a\n" * 1001, CSV))


def test_text_of_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedMedia, match="latin-1"):
        decode(order(tmp_path, b"age,sex\n1,a\n", "text/csv; charset=latin-1"))


def test_a_line_that_is_no_object_fails_alone(tmp_path: Path) -> None:
    found = heads(tmp_path, b'{"age":1}\n\n[1]\n{"age":\n\xff\n"a"\n{"age":NaN}\n{"b":2}', NDJSON)

    assert ["fault" in head for head in found] == [False, True, True, True, True, True, False]


def parquet(rows: list[dict[str, Any]], **options: Any) -> bytes:
    made = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), made, **options)
    return made.getvalue()


def test_parquet_has_rows_like_any_other(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "income": float("nan")}, {**ROW, "sex": None}]

    found = heads(tmp_path, parquet(rows), PARQUET)

    assert [head["row"] for head in found] == [ROW, ROW, {**ROW, "sex": None}]


def test_values_that_json_has_not_fail_alone_or_become_text(tmp_path: Path) -> None:
    import datetime
    import decimal

    day = parquet([{"age": datetime.date(2026, 1, 2), "sex": "a", "income": decimal.Decimal("1.5")}])
    assert heads(tmp_path, day, PARQUET) == [{"row": {"age": "2026-01-02", "sex": "a", "income": 1.5}}]

    (found,) = heads(tmp_path, parquet([{"age": 1, "sex": b"\xff"}]), PARQUET)
    assert "bytes" in found["fault"]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", parquet([ROW])[:-20], b"age,sex\n"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="Parquet"):
        decode(order(tmp_path, data, PARQUET))


def test_parquet_with_other_columns_or_too_many_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'sex' is missing"):
        decode(order(tmp_path, parquet([{"age": 1}]), PARQUET))
    with pytest.raises(InputTooLarge, match="at most 1000"):
        decode(order(tmp_path, parquet([ROW] * 1001), PARQUET))
    with pytest.raises(InvalidInput, match="no row"):
        decode(order(tmp_path, _without_rows(), PARQUET))


def _without_rows() -> bytes:
    made = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW]).slice(0, 0), made)
    return made.getvalue()


def test_the_files_of_an_archive_are_items_by_their_names(tmp_path: Path) -> None:
    files = {"a.png": b"one", "d/ü.png": b"", "__MACOSX/a.png": b"x", "d/._a": b"x", ".DS_Store": b"x", "d/": b""}
    packed = [zipped(files), *(tarred(files, mode) for mode in ("w:gz", "w", "w:xz"))]
    for data, kind in zip(
        packed, ("application/zip", "application/gzip", "application/x-tar", "application/x-tar"), strict=True
    ):
        named = {item.head["name"]: item.body for item in items(tmp_path, data, kind, "images")}
        assert {"a.png": b"one", "d/ü.png": b""}.items() <= named.items()
        assert set(named) <= {"a.png", "d/ü.png", "d/"}


def test_names_that_lead_out_are_labels_and_nothing_is_written_there(tmp_path: Path) -> None:
    names = ["../a.png", "/etc/a.png", "d/../../a.png", "C:\\a.png", "..\\a.png", "a\nb.png"]
    folder = tmp_path / "in" / "job"
    folder.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))

    for data, kind in ((zipped(dict.fromkeys(names, b"x")), "application/zip"),
                       (tarred(dict.fromkeys(names, b"x")), "application/x-tar")):  # fmt: skip
        found = items(folder, data, kind, "images")
        assert all("fault" in item.head and not item.body for item in found)
        assert len(found) == len(names)

    assert {path.name for path in tmp_path.rglob("*")} - {path.name for path in before} == {"items", "ends"}


def test_links_and_devices_fail_alone(tmp_path: Path) -> None:
    link, hard, device = (tarfile.TarInfo(name) for name in ("link", "hard", "device"))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard.type, hard.linkname = tarfile.LNKTYPE, "a.png"
    device.type = tarfile.CHRTYPE

    found = items(tmp_path, tarred({"a.png": b"x", "l": link, "h": hard, "d": device}), "application/x-tar", "images")

    assert [item.body for item in found] == [b"x", b"", b"", b""]
    assert ["fault" in item.head for item in found] == [False, True, True, True]


def test_a_file_that_is_too_large_fails_alone_whatever_the_archive_says(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.png": b"\0" * 200_000, "b.png": b"x"}))
    # The sizes in both headers say one byte.
    size = struct.pack("<I", 200_000)
    assert data.count(size) == 2
    lying = bytes(data).replace(size, struct.pack("<I", 1))

    honest = items(tmp_path, bytes(data), "application/zip", "images")
    assert honest[0].head["kind"] == "too-large"
    assert honest[1].body == b"x"
    found = items(tmp_path, lying, "application/zip", "images")
    assert "fault" in found[0].head
    assert found[1].body == b"x"


def test_an_archive_that_unpacks_to_more_than_a_limit_is_refused(tmp_path: Path) -> None:
    bomb = {f"{number}.png": b"\0" * 99_000 for number in range(20)}
    for data, kind in ((zipped(bomb), "application/zip"), (tarred(bomb), "application/gzip")):
        assert len(data) < 50_000
        with pytest.raises(InputTooLarge, match="1000000 bytes"):
            decode(order(tmp_path, data, kind, "images"))


def test_a_tar_of_what_is_passed_over_counts_too(tmp_path: Path) -> None:
    with pytest.raises(InputTooLarge):
        decode(order(tmp_path, tarred({"__MACOSX/zeros": b"\0" * 2_000_000}), "application/gzip", "images"))


def test_more_files_than_a_limit_are_refused(tmp_path: Path) -> None:
    files = {str(number): b"" for number in range(1001)}
    for data in (zipped(files), tarred(files)):
        with pytest.raises(InputTooLarge, match="at most 1000"):
            decode(order(tmp_path, data, "application/zip", "images"))


def test_a_damaged_or_encrypted_file_fails_alone(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.png": b"good and long", "b.png": b"fine"}, method=zipfile.ZIP_STORED))
    data[data.index(b"good")] ^= 1
    found = items(tmp_path, bytes(data), "application/zip", "images")
    assert "damaged" in found[0].head["fault"]
    assert found[1].body == b"fine"

    locked = bytearray(zipped({"a.png": b"x"}))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in items(tmp_path, bytes(locked), "application/zip", "images")[0].head["fault"]


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", zipped({"a": b"x"})[:-30], tarred({"a": b"x" * 5000})[:-40], b"PK\x03\x04" + b"\0" * 99],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="archive"):
        decode(order(tmp_path, data, "application/zip", "images"))


def test_an_archive_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no image"):
        decode(order(tmp_path, zipped({}), "application/zip", "images"))


def form(*parts: tuple[str, str, bytes]) -> tuple[bytes, str]:
    """A multipart body, and its content type. Parts are the rest of the disposition, other headers, data."""
    body = b"".join(
        f"--B\r\nContent-Disposition: form-data; {name}\r\n{more}\r\n".encode() + data + b"\r\n"
        for name, more, data in parts
    )
    return body + b"--B--\r\n", "multipart/form-data; boundary=B"


def test_a_form_has_images_and_an_archive(tmp_path: Path) -> None:
    body, kind = form(
        ('name="images"; filename="a.png"', "", b"one\r\n--"),
        ('name="archive"; filename="b.zip"', "", zipped({"b.png": b"two"})),
        ('name="images"', "Content-Type: image/png\r\n", b"x" * 100_001),
    )

    found = items(tmp_path, body, kind, "images")

    assert [(item.head["name"], item.body) for item in found] == [("a.png", b"one\r\n--"), ("b.png", b"two"), ("", b"")]
    assert found[2].head["kind"] == "too-large"
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
def test_a_table_in_a_form_is_known_by_its_type_its_name_or_its_beginning(
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
def test_a_form_that_is_none_is_refused(tmp_path: Path, body: bytes, kind: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        decode(order(tmp_path, body, kind))


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


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of images beside one that is nobody's business."""
    for name in ("images/b/1.png", "images/a.png", "private/secret.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "private" / "secret.png")
    (tmp_path / "images" / "out").symlink_to(tmp_path / "private")
    (tmp_path / "job").mkdir()
    return tmp_path


def test_a_folder_has_its_files_and_no_links(shelf: Path) -> None:
    asked = Order("images", "", shelf / "job", DecodeLimits(), source=f"{shelf}/images", roots=(str(shelf / "images"),))
    assert decode(asked).total == 2

    found = {item.head["name"]: item.body for item in read_items(shelf / "job", 0, 9)}
    assert found == {"a.png": b"images/a.png", "b/1.png": b"images/b/1.png"}


@pytest.mark.parametrize("source", ["private", "images/../private", "images/out", "images/none", "images/a.png", ""])
def test_a_folder_that_is_not_allowed_is_as_if_it_were_not_there(shelf: Path, source: str) -> None:
    asked = Order("images", "", shelf / "job", DecodeLimits(), source=f"{shelf}/{source}", roots=(f"{shelf}/images",))
    with pytest.raises(InvalidInput, match="no such folder among those that may be read"):
        decode(asked)


def test_another_process_gives_and_refuses_the_same(tmp_path: Path) -> None:
    data = parquet([ROW] * 3)
    here = decode(order(tmp_path, data, PARQUET))
    assert decode_in_child(order(tmp_path, data, PARQUET)) == here

    with pytest.raises(FieldFault, match="file part") as refused:
        decode_in_child(order(tmp_path, *form(('name="file"', "", b""))))
    assert refused.value.location == ("body", "file")
    assert refused.value.value_type == "string"


def test_what_takes_too_much_memory_ends_the_other_process_alone(tmp_path: Path) -> None:
    # A small file that is hundreds of megabytes of text.
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 64, pyarrow.int32()), ["x" * (4 << 20)])
    made = io.BytesIO()
    pyarrow.parquet.write_table(
        pyarrow.table({"age": [1] * 64, "sex": column.cast(pyarrow.string())}), made, compression="zstd"
    )
    limits = DecodeLimits(max_memory_bytes=400 << 20)
    assert decode_in_child(order(tmp_path, parquet([ROW]), PARQUET, limits=limits)).total == 1

    with pytest.raises(InputError):
        decode_in_child(order(tmp_path, made.getvalue(), PARQUET, limits=limits))


cells = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


@given(st.lists(st.tuples(cells, cells, cells, cells), min_size=1, max_size=6))
@fuzz
def test_every_row_of_any_csv_is_an_item(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    made = io.StringIO()
    writer = csv.writer(made)
    writer.writerow(["age", "sex", "income", "owns"])
    writer.writerows(rows)

    found = heads(tmp_path, made.getvalue(), CSV)

    assert len(found) == len(rows)
    assert [head["row"]["sex"] for head in found] == [row[1] for row in rows]


@given(st.lists(st.tuples(st.one_of(st.none(), st.text(max_size=9)), st.floats() | st.none()), min_size=1, max_size=9))
@fuzz
def test_every_row_of_any_parquet_is_an_item(tmp_path: Path, rows: list[tuple[str | None, float | None]]) -> None:
    table = pyarrow.table(
        {
            "age": pyarrow.array([1] * len(rows), pyarrow.int64()),
            "sex": pyarrow.array([text for text, _ in rows], pyarrow.string()),
            "income": pyarrow.array([number for _, number in rows], pyarrow.float64()),
        }
    )
    made = io.BytesIO()
    pyarrow.parquet.write_table(table, made)

    found = heads(tmp_path, made.getvalue(), PARQUET)

    assert [head["row"]["sex"] for head in found] == [text for text, _ in rows]


@given(
    st.sampled_from([CSV, NDJSON, PARQUET, "multipart/form-data; boundary=B"]), st.binary(max_size=300), st.booleans()
)
@fuzz
def test_bytes_that_are_anything_are_items_or_refused(tmp_path: Path, kind: str, data: bytes, is_like: bool) -> None:
    starts = {CSV: b"age,sex\n", NDJSON: b'{"age":', PARQUET: b"PAR1"}
    like = starts.get(kind, b'--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n')
    try:
        decode(order(tmp_path, like + data if is_like else data, kind))
    except InputError:
        return
    assert read_items(tmp_path, 0, 1)


@given(st.binary(max_size=400), st.integers(0, 400), st.sampled_from([0, 1, 2]))
@fuzz
def test_archives_that_are_changed_are_items_or_refused(tmp_path: Path, noise: bytes, at: int, which: int) -> None:
    files = {"a.png": b"first" * 20, "b/c.png": b"second", "d.png": zlib.compress(b"third" * 99)}
    data = (zipped(files), tarred(files, "w"), tarred(files))[which]
    try:
        decode(order(tmp_path, data[:at] + noise + data[at + len(noise) :], "application/zip", "images"))
    except InputError:
        return
    assert read_items(tmp_path, 0, 1)


@given(st.binary(max_size=200), st.integers(0, 2000))
@fuzz
def test_parquet_that_is_changed_is_items_or_refused(tmp_path: Path, noise: bytes, at: int) -> None:
    data = parquet([ROW] * 5)
    at %= len(data)
    try:
        decode(order(tmp_path, data[:at] + noise + data[at + len(noise) :], PARQUET))
    except InputError:
        return
    assert orjson.dumps(dict(read_items(tmp_path, 0, 1)[0].head))
