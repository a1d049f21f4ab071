from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks import plots, report

MACHINE = {
    "name": "m", "cpu": "a CPU", "cores": 2, "memory_gb": 8.0, "system": "Linux", "python": "3.11.7",
    "date": "2026-01-01T00:00:00+00:00", "revision": "abc", "load_before": 0.1, "versions": {"bentoml": "1.4.39"},
}  # fmt: skip


def load(per_s: float) -> dict[str, Any]:
    return {"per_s": per_s, "p50": 1.0, "p99": 2.0, "requests": 9, "failed": 0, "wrong": 0, "rounds": [{"requests": 9}]}


def document() -> dict[str, Any]:
    target = {"peer": "ours", "note": "", "start_s": 1.0, "memory_bytes": {"python 1": 50_000_000}}
    return {
        "machine": dict(MACHINE),
        "options": {"rounds": 3, "seconds": 2.0},
        "peers": {"ray": {"missing": "no wheel | for this Python"}, "mosec": {"versions": {"mosec": "0.9.8"}}},
        "scenarios": {
            "overhead": {
                "title": "30 floats",
                "targets": {
                    "ours-process": {**target, "by_connections": {"1": load(10), "64": load(1234)}},
                    "ray": {"peer": "ray", "note": "", "missing": f"fell over\nin {Path.home()}/x"},
                },
            },
            "image": {"title": "Images", "missing": "no artifact 'image'"},
        },
        "open_loop": {
            "overhead": {"ours-process": {"100": {**load(1), "p90": 1, "p99.9": 3, "due": 5, "sent_late_p99": 0.2}}}
        },
        "sweeps": {
            "rows": {"1": {**load(10), "rows_per_s": 10}, "1000": {**load(5), "rows_per_s": 5000}},
            "catalogue": {"missing": "not today"},
        },
        "starts": {"ours-process": {"cold_s": 3.0, "warm_s": 1.0}},
        "growth": {
            "overhead/ours-process": {
                "points": [{"requests": 10_000, "bytes": 1e8}, {"requests": 10**6, "bytes": 1.01e8}],
                "growth": 1.01,
                "failed": 0,
            }
        },
    }


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


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "PUBLISHED", tmp_path / "results.json")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(report, "PLOTS", tmp_path / "plots")
    return tmp_path


def test_what_is_published_leaves_out_the_single_rounds(published: Path) -> None:
    report.publish(document())
    saved = json.loads((published / "results.json").read_text())
    assert "rounds" not in saved["scenarios"]["overhead"]["targets"]["ours-process"]["by_connections"]["1"]
    assert saved["options"]["rounds"] == 3
    assert saved["scenarios"]["overhead"]["targets"]["ray"]["missing"] == "fell over\nin ~/x"
    assert (published / "plots" / "overhead.svg").is_file()


def test_a_run_of_a_part_keeps_the_other_parts_and_tells_them_apart(published: Path) -> None:
    report.publish(report.merged(document()))
    part = {
        "machine": {**MACHINE, "revision": "def"},
        "scenarios": {"image": {"title": "Images", "targets": {}}},
    }
    together = report.merged(part)
    assert together["scenarios"]["overhead"] == report.slim(document())["scenarios"]["overhead"]
    assert together["scenarios"]["image"] == {"title": "Images", "targets": {}}
    assert together["growth"]
    assert together["made"]["scenarios/image"].startswith("def")
    assert "Measured apart: revision abc" in report.markdown(together)


def test_numbers_of_another_machine_are_not_mixed_in(published: Path) -> None:
    report.publish(document())
    part = {"machine": {**MACHINE, "cpu": "another"}, "scenarios": {}}
    assert report.merged(part) == part
