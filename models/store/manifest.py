"""The manifest of an artifact: its files, with their sizes and SHA-256.

What an artifact may consist of is checked here alone, for one that is saved, imported or fetched as for one that the
store has.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.card import CARD_FILE
from models.errors import ArtifactInvalid
from models.store.file_formats import check_formats

MANIFEST_FILE: Final = "manifest.json"
# BentoML's description of a model, which its tools need. It is written after the manifest, and not listed there.
MODEL_FILE: Final = "model.yaml"
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_FILES: Final = 10_000
_MAX_NAME_CHARACTERS: Final = 512
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ ,;=+@()\[\]~.-]{0,254}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_VERSION_CHARACTERS: Final = 16
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of an artifact: size and SHA-256 by name. `digest` is the SHA-256 of the manifest itself."""

    digest: str
    files: Mapping[str, tuple[int, str]]

    @property
    def version(self) -> str:
        """The version that an artifact from a source gets: the same for the same content, on every host."""
        return self.digest[:_VERSION_CHARACTERS]

    @property
    def total_bytes(self) -> int:
        """The size of all files."""
        return sum(size_bytes for size_bytes, _ in self.files.values())


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the artifact in `folder`. Raise ArtifactInvalid without a valid one."""
    tag = f"{folder.parent.name}:{folder.name}"
    try:
        return parse_manifest((folder / MANIFEST_FILE).read_bytes())
    except OSError as error:
        raise ArtifactInvalid(f"artifact '{tag}' is incomplete: no readable {MANIFEST_FILE}") from error
    except ArtifactInvalid as error:
        raise ArtifactInvalid(f"artifact '{tag}' is refused: {error}") from None


def parse_manifest(data: bytes) -> Manifest:
    """Return the manifest in `data`. Raise ArtifactInvalid, with the reason alone, for what an artifact may not be."""
    try:
        listed = json.loads(data)["files"]
        files = {str(file): (_size(entry[0]), str(entry[1])) for file, entry in listed.items()}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise ArtifactInvalid(f"its {MANIFEST_FILE} is not valid") from None
    if len(files) > MAX_FILES:
        raise ArtifactInvalid(f"it has {len(files)} files; the maximum is {MAX_FILES}")
    if CARD_FILE not in files:
        raise ArtifactInvalid(f"it has no {CARD_FILE}")
    for file, (_, sha256) in files.items():
        if not is_plain_path(file) or file.lower() in (MANIFEST_FILE, MODEL_FILE):
            raise ArtifactInvalid(f"{file[:100]!a} is not a name that a file of an artifact may have")
        if not _SHA256.fullmatch(sha256):
            raise ArtifactInvalid(f"its {MANIFEST_FILE} has no SHA-256 of '{file}'")
    _check_folders(files)
    check_formats(files)
    return Manifest(hashlib.sha256(data).hexdigest(), files)


def write_manifest(folder: Path) -> None:
    """Write the manifest of the files in `folder`."""
    listed = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, file_sha256(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / MANIFEST_FILE).write_text(json.dumps({"files": listed}, indent=2))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def is_plain_path(file: str) -> bool:
    """Return whether `file` is a relative path of plain names, which stays inside of its folder on every system."""
    return len(file) <= _MAX_NAME_CHARACTERS and all(
        _PART.fullmatch(part) and not part.endswith((".", " ")) for part in file.split("/")
    )


def _check_folders(files: Mapping[str, object]) -> None:
    """Raise ArtifactInvalid where a file is also the folder of another, or differs from another by case alone."""
    lowered = {file.lower() for file in files}
    folders = {file[:at] for file in lowered for at, letter in enumerate(file) if letter == "/"}
    if len(lowered) < len(files) or lowered & folders:
        raise ArtifactInvalid("two of its files have the same path")


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a size")
    return value
