"""Reads the state files of version 0.1: one pin and one traffic split per model, in two folders.

They count until `deployment.json` is written, which includes them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import orjson

from models.errors import text_of

log = logging.getLogger("makunouchi.deployment")

PIN_FOLDER = "pins"
SPLIT_FOLDER = "traffic"


def read_first_edition(folder: Path) -> dict[str, dict[str, Any]]:  # Any: JSON
    """Return entries of the current schema by model name. A file that cannot be read is logged and ignored."""
    entries: dict[str, dict[str, Any]] = {}
    for name, pin in _documents(folder / PIN_FOLDER):
        entries.setdefault(name, {}).update(
            version=pin.get("version"), configured=pin.get("configured", ""), reload_id=pin.get("serial", "")
        )
    for name, split in _documents(folder / SPLIT_FOLDER):
        entries.setdefault(name, {}).update(weights=split.get("weights", {}), shadow=split.get("shadow"))
    return entries


def remove_first_edition(folder: Path) -> None:
    """Remove the files of version 0.1. Call it when `deployment.json` includes them."""
    for old in (folder / PIN_FOLDER, folder / SPLIT_FOLDER):
        try:
            for file in old.glob("*.json"):
                file.unlink(missing_ok=True)
            if old.is_dir():
                old.rmdir()
        except OSError as error:
            log.warning("%s, whose content is in deployment.json now, cannot be removed: %s", old.name, text_of(error))


def _documents(folder: Path) -> list[tuple[str, dict[str, Any]]]:  # Any: JSON
    documents = []
    for file in sorted(folder.glob("*.json")):
        try:
            document = orjson.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            log.error("%s cannot be read and is ignored: %s", file.name, text_of(error))
            continue
        if isinstance(document, dict):
            documents.append((file.stem, document))
        else:
            log.error("%s is not an object and is ignored", file.name)
    return documents
