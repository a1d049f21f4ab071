"""Files become labelled texts, or one sentence that says what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from models.errors import DataInvalid
from tests.training.text.example_texts import sentences, sentences_csv
from training.text.corpus import read_corpus


def write(folder: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(folder / "texts.csv", index=False)
    return folder / "texts.csv"


def check_fault(path: Path, fault: str, *, text: str = "message", target: str = "topic") -> None:
    with pytest.raises(DataInvalid, match=fault) as caught:
        read_corpus(path, text=text, target=target)
    assert "\n" not in str(caught.value)


def test_a_csv_file_is_read_with_its_quotes_line_breaks_and_scripts(tmp_path: Path) -> None:
    frame = sentences()
    frame.loc[0, "message"] = 'He said "food, 寿司!"\nand left 🍕'
    frame.loc[1, "message"] = "NA"
    corpus = read_corpus(write(tmp_path, frame), text="message", target="topic")
    assert corpus.texts == tuple(frame["message"])
    assert corpus.labels == tuple(frame["topic"])
    assert corpus.classes == ("food", "sport", "weather")
    assert (corpus.source.name, corpus.source.rows, len(corpus.source.sha256)) == ("texts.csv", 300, 64)


def test_parquet_gives_the_same_texts(tmp_path: Path) -> None:
    frame = sentences()
    frame.astype({"topic": "category"}).to_parquet(tmp_path / "texts.parquet")
    from_parquet = read_corpus(tmp_path / "texts.parquet", text="message", target="topic")
    from_csv = read_corpus(write(tmp_path, frame), text="message", target="topic")
    assert (from_parquet.texts, from_parquet.labels) == (from_csv.texts, from_csv.labels)


def test_classes_that_are_integers_are_in_numerical_order(tmp_path: Path) -> None:
    frame = sentences().assign(topic=[(9, 10, 2)[row % 3] for row in range(300)])
    assert read_corpus(write(tmp_path, frame), text="message", target="topic").classes == ("2", "9", "10")


def test_a_missing_column_is_named_with_those_that_exist(tmp_path: Path) -> None:
    path = sentences_csv(tmp_path)
    check_fault(path, "'messages.csv' has no column 'body'; it has: message, topic, number", text="body")
    check_fault(path, "no column 'label'", target="label")


def test_the_text_cannot_be_the_target(tmp_path: Path) -> None:
    check_fault(sentences_csv(tmp_path), "'topic' is both --text and --target", text="topic")


def test_a_column_of_numbers_is_no_text(tmp_path: Path) -> None:
    sentences().to_parquet(tmp_path / "texts.parquet")
    check_fault(tmp_path / "texts.parquet", "column 'number' of 'texts.parquet' holds int64, not text", text="number")


def test_one_class_is_refused(tmp_path: Path) -> None:
    check_fault(write(tmp_path, sentences().assign(topic="food")), "has only the class 'food'; two are needed")


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    check_fault(sentences_csv(tmp_path, rows=30), "'messages.csv' has 30 rows, at least 50 are needed")


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    frame = sentences(600).assign(topic=lambda all_: all_["message"].index.astype(str))
    check_fault(write(tmp_path, frame), "has 600 classes, at most 500 work")


@pytest.mark.parametrize("column", ["message", "topic"])
def test_empty_cells_are_refused_with_the_first_row(tmp_path: Path, column: str) -> None:
    frame = sentences()
    frame.loc[[4, 7], column] = [None, "  "]
    check_fault(write(tmp_path, frame), f"column '{column}' of 'texts.csv' is empty in 2 rows, first in row 5; fill")
    frame.to_parquet(tmp_path / "texts.parquet")
    check_fault(tmp_path / "texts.parquet", "is empty in 2 rows, first in row 5")


def test_rare_classes_are_named_with_their_rows(tmp_path: Path) -> None:
    frame = sentences()
    frame.loc[:2, "topic"] = "travel"
    check_fault(write(tmp_path, frame), r"has classes of fewer than 10 rows: 'travel' \(3\); add rows, merge")


def test_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    check_fault(tmp_path / "nowhere.csv", "no file '.*nowhere.csv'")
    (tmp_path / "empty.csv").write_text("")
    check_fault(tmp_path / "empty.csv", "'empty.csv' is empty")
