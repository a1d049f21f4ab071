from __future__ import annotations

import json
from pathlib import Path

from benchmarks import container


def test_the_results_of_the_container_test_are_read(tmp_path: Path) -> None:
    report = tmp_path / "container.json"
    report.write_text(json.dumps({"ready_s": 4.2, "image_mb": 798}))
    assert container.measure(report) == {"image_mb": 798.0, "ready_s": 4.2}


def test_without_results_the_reason_is_returned(tmp_path: Path) -> None:
    assert "make test-container" in container.measure(tmp_path / "absent.json")["missing"]
