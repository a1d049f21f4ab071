from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from benchmarks import plots, report
from tests.benchmarks.example_run import MACHINE, document


def test_the_page_contains_results_and_reasons_for_missing_ones() -> None:
    page = report.markdown(document())
    for part in (
        "a CPU, 2 cores",
        "| ours-process | 10.0 | 1.00 | 2.00 | 1,234 | 1.00 | 2.00 | 0 | 0 | 1.0 |",
        "Not measured: ray: exited in ~/x",
        "Not measured: no artifact 'image'",
        "| overhead | ours-process | 100 | 1.00 | 1.00 | 2.00 | 3.00 | 0 | 0.20 |",
        "Not measured: catalogue: out of memory",
        "| 2 | ours-inline-2-gateways | 20 | 2.00 | 0 |",
        "| ours-process | 3.0 | 1.0 |",
        "798 MB uncompressed, ready 4.2 s",
        "| overhead | ours-process | 50 | 50 |",
        "| overhead/ours-process | 10,000 | 100.0 | 1,000,000 | 101.0 | 1.010 | 0 |",
        "cannot be installed: no wheel / for this Python",
        "| mosec | mosec 0.9.8 |",
    ):
        assert part in page, part


def test_a_document_with_few_parts_results_in_a_page() -> None:
    assert report.markdown({"machine": MACHINE}).startswith("# Benchmark")


def test_plots_are_well_formed_and_small() -> None:
    drawn = dict(report.draw(document()))
    assert set(drawn) == {"overhead", "sweep-rows"}
    for plot in drawn.values():
        ET.fromstring(plot)  # noqa: S314  (created by this test)
        assert len(plot) < 20_000


def test_plots_of_the_same_data_have_the_same_bytes() -> None:
    assert dict(report.draw(document())) == dict(report.draw(document()))


def test_plots_contain_no_date_and_no_version() -> None:
    for plot in dict(report.draw(document())).values():
        assert "<dc:date>" not in plot
        assert "Matplotlib v" not in plot


def test_names_in_a_plot_are_escaped() -> None:
    ET.fromstring(plots.bar_chart("a < b & c", [("<x>", 1.0, "1")], unit="s"))  # noqa: S314  (created by this test)


def test_a_plot_without_data_contains_the_reason() -> None:
    assert "t: not measured" in plots.line_chart("t", {"a": [(0, 1)]}, x_label="x")
    assert "t: not measured" in plots.bar_chart("t", [], unit="s")


def test_the_published_document_does_not_contain_single_rounds(published: Path) -> None:
    report.publish(document())
    saved = json.loads((published / "results.json").read_text())
    assert "rounds" not in saved["scenarios"]["overhead"]["targets"]["ours-process"]["by_connections"]["1"]
    assert saved["options"]["rounds"] == 3
    assert saved["scenarios"]["overhead"]["targets"]["ray"]["missing"] == "exited\nin ~/x"
    assert (published / "plots" / "overhead.svg").is_file()
