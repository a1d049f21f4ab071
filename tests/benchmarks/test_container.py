from __future__ import annotations

import json
from pathlib import Path

from benchmarks import container


def test_what_the_test_of_the_image_wrote_is_reported(tmp_path: Path) -> None:
    report = tmp_path / "container.json"
    report.write_text(json.dumps({"ready_s": 4.2, "image_mb": 798}))
    found = container.measure(report)
    assert found == {"image_mb": 798.0, "ready_s": 4.2}
    assert "798 MB uncompressed; ready 4.2 s" in "\n".join(container.lines({"container": found}))


def test_without_it_the_reason_stands_there_and_no_number(tmp_path: Path) -> None:
    found = container.measure(tmp_path / "none.json")
    assert "make test-container" in found["missing"]
    assert container.lines({"container": found}) == []
    assert container.lines({}) == []
