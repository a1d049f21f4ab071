"""The manifest of an artifact in a source: which files it has, checked before one of them is fetched."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from models.card import CARD_FILE
from models.errors import ArtifactInvalid
from models.store.artifacts import MANIFEST_FILE
from models.store.file_formats import check_formats

MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_FILES: Final = 10_000
_MAX_NAME_CHARACTERS: Final = 512
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ ,;=+@()\[\]~.-]{0,254}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_VERSION_CHARACTERS: Final = 16
# Written by the store itself.
_RESERVED: Final = (MANIFEST_FILE, "model.yaml")


@dataclass(frozen=True, slots=True)
class SourceManifest:
    """The files of an artifact: size and SHA-256 by name. `digest` is the SHA-256 of the manifest itself."""

    digest: str
    files: Mapping[str, tuple[int, str]]

    @property
    def version(self) -> str:
        """The version that the artifact gets in the store: the same for the same content, on every host."""
        return self.digest[:_VERSION_CHARACTERS]

    @property
    def total_bytes(self) -> int:
        """The size of all files."""
        return sum(size_bytes for size_bytes, _ in self.files.values())


def read_manifest(data: bytes, *, label: str, max_bytes: int) -> SourceManifest:
    """Read a manifest of the source `label`. Raise ArtifactInvalid for what may not be fetched, with the reason."""
    try:
        listed = json.loads(data)["files"]
        files = {str(file): (_size(entry[0]), str(entry[1])) for file, entry in listed.items()}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise _refused(label, f"its {MANIFEST_FILE} is not valid") from None
    if len(files) > MAX_FILES:
        raise _refused(label, f"it has {len(files)} files; the maximum is {MAX_FILES}")
    if CARD_FILE not in files:
        raise _refused(label, f"it has no {CARD_FILE}")
    for file, (_, sha256) in files.items():
        if not is_plain_path(file) or file.lower() in _RESERVED:
            raise _refused(label, f"'{file[:100]!a}' is not a name that a file of an artifact may have")
        if not _SHA256.fullmatch(sha256):
            raise _refused(label, f"its {MANIFEST_FILE} has no SHA-256 of '{file}'")
    _check_folders(files, label)
    try:
        check_formats(files)
    except ArtifactInvalid as error:
        raise _refused(label, str(error)) from None
    manifest = SourceManifest(hashlib.sha256(data).hexdigest(), files)
    if manifest.total_bytes > max_bytes:
        raise _refused(label, f"it has {manifest.total_bytes} bytes; the maximum is {max_bytes} (source_max_bytes)")
    return manifest


def is_plain_path(file: str) -> bool:
    """Return whether `file` is a relative path of plain names, which stays inside of its folder on every system."""
    return len(file) <= _MAX_NAME_CHARACTERS and all(
        _PART.fullmatch(part) and not part.endswith((".", " ")) for part in file.split("/")
    )


def _check_folders(files: Mapping[str, object], label: str) -> None:
    """Raise ArtifactInvalid where a file is also the folder of another, or differs from another by case alone."""
    lowered = {file.lower() for file in files}
    folders = {file[:at] for file in lowered for at, letter in enumerate(file) if letter == "/"}
    if len(lowered) < len(files) or lowered & folders:
        raise _refused(label, "two of its files have the same path")


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a size")
    return value


def _refused(label: str, reason: str) -> ArtifactInvalid:
    return ArtifactInvalid(f"source '{label}' is refused: {reason}; nothing was saved")
