"""How large the container image is and how soon it is ready, as `make test-container` saw it. Starts nothing itself."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.results import Document

REPORT = Path(__file__).parent.parent / "reports" / "container.json"


def measure(report: Path = REPORT) -> Document:
    """What the last test of the image on this machine wrote down; why there is nothing, otherwise."""
    try:
        found: Document = json.loads(report.read_text())
    except (OSError, ValueError):
        return {"missing": "the image was not measured here; run: make test-container"}
    return {"image_mb": float(found["image_mb"]), "ready_s": float(found["ready_s"])}


def lines(document: Document) -> list[str]:
    """Its part of the report."""
    found = document.get("container", {})
    if "image_mb" not in found:
        return []
    said = f"{found['image_mb']:.0f} MB uncompressed; ready {found['ready_s']:.1f} s after its start."
    return ["## Container image", "", f"{said} `make test-container` measures it.", ""]
