"""Tests of reading tables into data frames, and of messages for files that are no tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from models.errors import DataInvalid
from models.store.manifest import file_sha256
from training.tabular.datasets import german_credit, read_frame, read_table


def write(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    lines = ["id", "a b", "c"], ["1", "x", "2.5"], ["2", "y", "3.5"]
    frame = read_frame(write(tmp_path, "\n".join(delimiter.join(line) for line in lines)))
    assert list(frame.columns) == ["id", "a b", "c"]
    assert frame["c"].tolist() == [2.5, 3.5]


def test_a_comma_within_quotes_or_as_decimal_point_separates_nothing(tmp_path: Path) -> None:
    assert read_frame(write(tmp_path, 'a,b\n"x, y",1\n"z",2\n'))["a"].tolist() == ["x, y", "z"]
    assert list(read_frame(write(tmp_path, "a;b\n1,5;2\n2,5;3\n")).columns) == ["a", "b"]


def test_a_delimiter_that_is_given_is_used(tmp_path: Path) -> None:
    assert list(read_frame(write(tmp_path, "a:b\n1:2\n"), delimiter=":").columns) == ["a", "b"]
    assert list(read_frame(write(tmp_path, "a\tb\n1\t2\n"), delimiter="\\t").columns) == ["a", "b"]
    with pytest.raises(DataInvalid, match="one character"):
        read_frame(write(tmp_path, "a,b\n1,2\n"), delimiter="::")


def test_a_decimal_comma_is_read_on_request(tmp_path: Path) -> None:
    assert read_frame(write(tmp_path, "a;b\n1,5;2\n2,5;3\n"), decimal=",")["a"].tolist() == [1.5, 2.5]
    with pytest.raises(DataInvalid, match=r"',' separates the fields of 'table\.csv': it cannot be --decimal too"):
        read_frame(write(tmp_path, "a,b\n1,2\n"), decimal=",")


def test_one_column_is_a_table_too(tmp_path: Path) -> None:
    assert read_frame(write(tmp_path, "a\n1\n2\n"))["a"].tolist() == [1, 2]


def test_types_are_detected_in_columns_with_missing_values(tmp_path: Path) -> None:
    frame = read_frame(write(tmp_path, "i,f,b,s\n1,1.0,True,x\n,,,\n3,?,False,NA\n4,2.0,true,-\n"))
    assert [str(kind) for kind in frame.dtypes] == ["Int64", "Float64", "boolean", "string"]
    assert frame.isna().sum().tolist() == [1, 2, 1, 3]


def test_byte_order_mark_spaces_and_unicode_are_read(tmp_path: Path) -> None:
    frame = read_frame(write(tmp_path, "\ufeffgröße , b.c\n1, ü\n"))
    assert list(frame.columns) == ["größe", "b.c"]
    assert frame["b.c"].tolist() == ["ü"]


def test_a_gzipped_file_and_tabs_are_read(tmp_path: Path) -> None:
    assert read_frame(write(tmp_path, gzip.compress(b"a,b\n1,2\n"), "t.csv.gz"))["b"].tolist() == [2]
    assert read_frame(write(tmp_path, "a\tb\n1\t2\n", "t.TSV"))["b"].tolist() == [2]


def test_the_content_and_not_the_name_says_whether_a_file_is_compressed(tmp_path: Path) -> None:
    assert read_frame(write(tmp_path, "a,b\n1,2\n", "t.csv.gz"))["b"].tolist() == [2]
    assert read_frame(write(tmp_path, gzip.compress(b"a,b\n1,2\n"), "t.csv"))["b"].tolist() == [2]


def test_blank_lines_and_the_line_of_excel_before_the_header_are_skipped(tmp_path: Path) -> None:
    assert list(read_frame(write(tmp_path, "\n\nsep=;\na;b,c\n1;2\n")).columns) == ["a", "b,c"]


def test_an_index_in_parquet_is_noted(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2]}, index=pd.Index([5, 6], name="customer")).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").notes == ("the index of the Parquet file is not used: 'customer'",)


def test_csv_and_parquet_of_one_table_give_equal_frames(tmp_path: Path) -> None:
    frame = read_frame(write(tmp_path, "i,f,b,s\n1,1.5,True,x\n,,,\n3,0.5,False,y\n"))
    frame.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "t.parquet"), frame)


def test_the_fingerprint_is_the_files_and_the_name_has_no_path(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n1,2\n3,4\n")
    source = read_table(path).source
    assert (source.name, source.sha256, source.rows) == ("table.csv", file_sha256(path), 2)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\n\n", "the table is empty"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"a,b,a\n1,2,3\n", "several columns named 'a'"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "cannot read CSV"),
        ("t.csv", b"a,b\n1,2,3\n1,2,3\n", "cannot read CSV"),
        ("t.csv", b"a,b\n\xff\xfe\x00,2\n", "not UTF-8"),
        ("t.csv", b'a,b\n"x,2\n', "cannot read CSV"),
        ("t.parquet", b"PAR1 not really", "cannot read parquet"),
        ("t.xlsx", b"PK", r"is none of: \.csv"),
    ],
)
def test_an_invalid_file_is_refused_with_the_reason(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    with pytest.raises(DataInvalid, match=fault):
        read_frame(write(tmp_path, content, name))


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="no file"):
        read_frame(tmp_path / "nowhere.csv")
    with pytest.raises(DataInvalid, match="no file"):
        read_frame(tmp_path)


def test_german_credit_is_what_it_is_known_to_be() -> None:
    table = german_credit()
    assert table.frame.shape == (1000, 10)
    assert table.frame["risk"].value_counts().to_dict() == {"good": 700, "bad": 300}
    assert set(table.descriptions) == set(table.frame.columns) - {"risk"}
