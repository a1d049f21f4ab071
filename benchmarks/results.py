"""What runs measured, as one JSON document: read, merged with what was measured before, kept. Knows no page."""

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
    """A run's document; the published one unless another is named. Raises FileNotFoundError."""
    document: Document = json.loads((source or PUBLISHED).read_bytes())
    return document


def merged(document: Document) -> Document:
    """A run of a part takes the place of that part in the published document, if that is of the same machine.

    The parts that were not measured stay, and the report says of which revision they are.
    """
    if not PUBLISHED.is_file():
        return document
    before = read(None)
    if any(before["machine"].get(key) != document["machine"].get(key) for key in ("cpu", "cores")):
        return document
    together = {**before, **{key: part for key, part in document.items() if key not in _SECTIONS}}
    for section in _SECTIONS:
        together[section] = {**before.get(section, {}), **document.get(section, {})}
    made = {**_made(before), **before.get("made", {}), **_made(document)}
    return {**together, "made": made}


def keep(document: Document) -> None:
    """Make it the published document."""
    PUBLISHED.write_text(json.dumps(slim(document), indent=1) + "\n")


def slim(document: Document) -> Document:
    """The document without the single rounds (the medians are what is published) and without this machine's folders."""

    def without(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: without(one) for key, one in part.items() if key != "rounds" or isinstance(one, int)}
        if isinstance(part, str):
            return without_folders(part)
        return [without(one) for one in part] if isinstance(part, list) else part

    found: Document = without(document)
    return found


def connections(scenario: Document) -> list[int]:
    """The numbers of connections that any server was measured with, smallest first."""
    targets = scenario.get("targets", {}).values()
    return sorted({int(count) for target in targets for count in target.get("by_connections", {})})


def without_folders(text: str) -> str:
    """`text` without the folders of the machine that it was written on."""
    places = {
        str(cache_folder()): "CACHE",
        str(_ROOT): ".",
        str(Path.home()): "~",
        tempfile.gettempdir(): "TMP",
    }
    for place, name in places.items():
        text = text.replace(place, name)
    return text


def _made(document: Document) -> dict[str, str]:
    """By part of a document, revision and time."""
    when = f"{document['machine']['revision']}, {document['machine']['date']}"
    return {f"{section}/{key}": when for section in _SECTIONS for key in document.get(section, {})}
