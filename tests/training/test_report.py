"""Tests of the report and of console output."""

from __future__ import annotations

import dataclasses
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from models.card import Card, DataSource, read_card
from tests.models.test_card import make_card
from training.report import REPORT_FILE, library_versions, markdown, print_summary, step, write_report


def test_every_fact_of_the_card_is_on_the_page() -> None:
    page = markdown(make_card())
    for fact in (
        "# tiny",
        "für alle",
        "tabular-classification, none at all, 2026-01-02 03:04 UTC",
        "Data: table.csv, 12 rows, SHA-256 `0000000000000000`",
        "| overall | 0.3 | 1 |",
        "| kind=x | 3 |",
        "fast 2 against slow 1: top-1 agreement 100.00%, largest difference 1.00e-07 over 12 rows",
        "| 0.0 to 0.1 | 4 | 0.05 | 0.25 |",
        "- `a.b` 0.1250",
        "- `größe in cm` (number)",
        "- seed: 1",
        "numpy 2.4.6",
    ):
        assert fact in page


def test_a_bare_card_makes_a_page_without_empty_sections() -> None:
    full = make_card()
    bare = Card(
        name="bare", task="recommendation", algorithm="x", created=full.created, inputs=(), outputs=(),
        metrics={"recall": 0.5}, data=DataSource("d", "0" * 64, 1),
    )  # fmt: skip
    page = markdown(bare)
    assert "| overall | 0.5 |" in page
    for absent in ("## Slices", "## Runtime", "## Calibration", "## Importance", "## Inputs", "## Parameters", "None"):
        assert absent not in page


def test_a_table_keeps_its_shape_whatever_the_labels_are() -> None:
    card = dataclasses.replace(make_card(), calibration=(), slices={"a|b=c": {"rows": 3.0}, "d": {"auc": 0.5}})
    lines = [line for line in markdown(card).splitlines() if line.startswith(("| a", "| d", "| | rows"))]
    assert lines == ["| | rows | auc |", r"| a\|b=c | 3 |  |", "| d |  | 0.5 |"]


def test_the_report_is_written_as_a_page_and_as_json(tmp_path: Path) -> None:
    write_report(make_card(), tmp_path)
    assert (tmp_path / REPORT_FILE).read_text(encoding="utf-8") == markdown(make_card())
    assert read_card(tmp_path) == make_card()


def test_the_summary_names_the_tag_the_metrics_and_the_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    print_summary(make_card(), tag="tiny:v1", folder=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "saved tiny:v1  (none at all, tabular-classification)"
    assert lines[1] == "  roc_auc 0.3  accuracy 1"
    assert lines[2].startswith("  fast 2 against slow 1: top-1 agreement 100.00%")
    assert lines[3].endswith(str(tmp_path / REPORT_FILE))


def test_a_step_says_what_and_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    with step("read [the] table"):
        pass
    shown = capsys.readouterr().err
    assert "> read [the] table" in shown
    assert re.search(r"done in \d+\.\d s", shown)


def test_a_step_that_fails_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="stop"), step("try"):
        raise ValueError("stop")
    assert "done" not in capsys.readouterr().err


def test_library_versions_are_the_installed_ones() -> None:
    assert library_versions("numpy", "pydantic") == {"numpy": version("numpy"), "pydantic": version("pydantic")}
