"""Size and start time of the container image, as measured by `make test-container`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

REPORT = Path(__file__).parent.parent / "reports" / "container.json"


def measure(report: Path = REPORT) -> dict[str, Any]:
    """Return the last results of the container test on this machine, or the reason why they are missing."""
    try:
        values: dict[str, Any] = json.loads(report.read_text())
    except (OSError, ValueError):
        return {"missing": "the image was not measured on this machine; run: make test-container"}
    return {"image_mb": float(values["image_mb"]), "ready_s": float(values["ready_s"])}
