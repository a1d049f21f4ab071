from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from benchmarks import plots, report
from tests.benchmarks.a_run import MACHINE, document


def test_the_page_tells_what_was_measured_and_what_was_not() -> None:
    page = report.markdown(document())
    for part in (
        "a CPU, 2 cores",
        "| ours-process | 10.0 | 1.00 | 2.00 | 1,234 | 1.00 | 2.00 | 0 | 0 | 1.0 |",
        "Not measured: ray: fell over in ~/x",
        "Not measured: no artifact 'image'",
        "| overhead | ours-process | 100 | 1.00 | 1.00 | 2.00 | 3.00 | 0 | 0.20 |",
        "Not measured: catalogue: not today",
        "| ours-process | 3.0 | 1.0 |",
        "| overhead/ours-process | 10,000 | 100.0 | 1,000,000 | 101.0 | 1.010 | 0 |",
        "cannot be installed: no wheel / for this Python",
        "| mosec | mosec 0.9.8 |",
    ):
        assert part in page, part


def test_a_document_of_a_few_parts_makes_a_page() -> None:
    assert report.markdown({"machine": MACHINE}).startswith("# Benchmark")


def test_plots_are_well_formed_and_small() -> None:
    pictures = dict(report.pictures(document()))
    assert set(pictures) == {"overhead", "sweep-rows"}
    for picture in pictures.values():
        ET.fromstring(picture)  # noqa: S314  (made here)
        assert len(picture) < 20_000


def test_names_in_a_plot_are_escaped() -> None:
    ET.fromstring(plots.bar_chart("a < b & c", [("<x>", 1.0, "1")], unit="s"))  # noqa: S314


def test_a_plot_of_nothing_says_so() -> None:
    assert "nothing measured" in plots.line_chart("t", {"a": [(0, 1)]}, x_label="x", y_label="y")


def test_what_is_published_leaves_out_the_single_rounds(published: Path) -> None:
    report.publish(document())
    saved = json.loads((published / "results.json").read_text())
    assert "rounds" not in saved["scenarios"]["overhead"]["targets"]["ours-process"]["by_connections"]["1"]
    assert saved["options"]["rounds"] == 3
    assert saved["scenarios"]["overhead"]["targets"]["ray"]["missing"] == "fell over\nin ~/x"
    assert (published / "plots" / "overhead.svg").is_file()
