"""The JSON document of a run: read, merge into the published document, save."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.artifacts import cache_folder

Document = dict[str, Any]  # Any: JSON

PUBLISHED = Path(__file__).parent / "results.json"
_ROOT = Path(__file__).parent.parent
_SECTIONS = ("scenarios", "bounds", "open_loop", "sweeps", "starts", "container", "growth", "peers")


def read(source: Path | None) -> Document:
    """Read a document; the published one if `source` is None. Raises FileNotFoundError."""
    document: Document = json.loads((source or PUBLISHED).read_bytes())
    return document


def merge(document: Document) -> Document:
    """Replace the measured parts of the published document and keep the others, if both are from the same machine.

    The result contains the revision of each part.
    """
    if not PUBLISHED.is_file():
        return document
    before = read(None)
    if any(before["machine"].get(key) != document["machine"].get(key) for key in ("cpu", "cores")):
        return document
    merged = {**before, **{key: part for key, part in document.items() if key not in _SECTIONS}}
    for section in _SECTIONS:
        merged[section] = {**before.get(section, {}), **document.get(section, {})}
    revisions = {**_revisions(before), **before.get("made", {}), **_revisions(document)}
    return {**merged, "made": revisions}


def save(document: Document, folder: Path) -> Path:
    """Write a document to FOLDER/bench-DATE.json and return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    timestamp = str(document["machine"]["date"]).replace(":", "").replace("+0000", "Z")
    path = folder / f"bench-{timestamp}.json"
    path.write_text(json.dumps(document, indent=1))
    return path


def publish(document: Document) -> None:
    """Write a document as the published one."""
    PUBLISHED.write_text(json.dumps(without_rounds(document), indent=1) + "\n")


def without_rounds(document: Document) -> Document:
    """Return a document without the data of single rounds and without folder names of the machine."""

    def convert(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: convert(value) for key, value in part.items() if key != "rounds" or isinstance(value, int)}
        if isinstance(part, str):
            return without_folders(part)
        return [convert(value) for value in part] if isinstance(part, list) else part

    converted: Document = convert(document)
    return converted


def connections(scenario: Document) -> list[int]:
    """Return the numbers of connections in a measured scenario in ascending order."""
    targets = scenario.get("targets", {}).values()
    return sorted({int(count) for target in targets for count in target.get("by_connections", {})})


def without_folders(text: str) -> str:
    """Replace the folders of the machine by short names."""
    folders = {
        str(cache_folder()): "CACHE",
        str(_ROOT): ".",
        str(Path.home()): "~",
        tempfile.gettempdir(): "TMP",
    }
    for folder, name in folders.items():
        text = text.replace(folder, name)
    return text


def _revisions(document: Document) -> dict[str, str]:
    """Return the revision and time by part of a document."""
    revision = f"{document['machine']['revision']}, {document['machine']['date']}"
    return {f"{section}/{key}": revision for section in _SECTIONS for key in document.get(section, {})}
