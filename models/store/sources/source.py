"""The interface of a source: a folder with the files of one artifact, or a tar of it, that is read over a network."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from models.errors import ArtifactError, ArtifactInvalid, ArtifactMissing, SettingsInvalid, SourceUnavailable

ARCHIVE_SUFFIXES: Final = (".tar", ".tar.gz", ".tgz")
NOT_FOUND: Final = (404, 410)
CHUNK_BYTES: Final = 1 << 18
MAX_NAME_CHARACTERS: Final = 2048


def is_source(text: str) -> bool:
    """Return whether `text` names a source rather than an artifact of the model store. An unknown scheme counts too."""
    return "://" in text or text.startswith("models:/")


def label_of(text: str) -> str:
    """Return the source `text` without what may be secret: user, password, query and fragment."""
    scheme, slashes, rest = re.split("[?#]", text, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return (scheme + slashes + host.rpartition("@")[2] + slash + path).rstrip("/")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Bounds of a fetch.

    `max_bytes` is the size of an artifact. `http_hosts` may be read without TLS, as this machine may. `timeout_s` is
    the longest silence of a source, and `attempts` the number of tries without progress.
    """

    max_bytes: int = 20 << 30
    http_hosts: tuple[str, ...] = ()
    timeout_s: float = 30.0
    attempts: int = 3


DEFAULT_OPTIONS: Final = SourceOptions()


@dataclass(frozen=True, slots=True)
class Stream:
    """The bytes of a file from the offset `start` on, which is 0 where a source cannot start in the middle.

    `size_bytes` is the size of the whole file, None where the source does not say it.
    """

    start: int
    size_bytes: int | None
    chunks: Iterator[bytes]


class Source(ABC):
    """The place `text` with one artifact. `label` names it in logs and errors, without secrets.

    Methods raise ArtifactMissing, ArtifactInvalid and SourceUnavailable, with messages that hold no secret.
    """

    def __init__(self, text: str) -> None:
        self.label = label_of(text)

    @property
    def is_archive(self) -> bool:
        """Whether the source is a tar, whose only file has the name ""."""
        return self.label.lower().endswith(ARCHIVE_SUFFIXES)

    @abstractmethod
    def revision(self) -> str:
        """Return what differs between two contents of the source; "" when only the manifest says that.

        One request at most. Later reads are of this revision, where the source keeps revisions.
        """

    @abstractmethod
    def stream(self, file: str, *, start: int = 0) -> AbstractContextManager[Stream]:
        """Open a file of the source, from the offset `start` on where the source can."""

    @abstractmethod
    def close(self) -> None:
        """Close connections."""


def status_fault(label: str, status: int, *, what: str = "", missing: Collection[int] = NOT_FOUND) -> ArtifactError:
    """Return the error for an HTTP status of a source. `what` is the file that was requested.

    The statuses `missing` mean that there is no such file.
    """
    named = f"'{what}' of source '{label}'" if what else f"source '{label}'"
    if status in missing:
        return ArtifactMissing(f"there is no {named}; check the address")
    if status in (401, 403, 407):
        return SourceUnavailable(f"access to {named} is refused (status {status}); check the credentials")
    if status == 416:
        return ArtifactInvalid(f"{named} is shorter than expected")
    is_transient = status in (408, 425, 429) or status >= 500
    return SourceUnavailable(f"{named} answers with status {status}", is_transient=is_transient)


def package_missing(label: str, package: str) -> SettingsInvalid:
    """Return the error for a source whose client is not installed."""
    return SettingsInvalid(f"source '{label}' needs the package {package}; run: pip install {package}")


def silence(*loggers: str) -> None:
    """Keep requests of client libraries out of the log: their lines hold addresses with tokens, and headers."""
    for name in loggers:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
