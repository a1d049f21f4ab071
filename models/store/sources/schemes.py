"""The schemes of sources, and the class that reads each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.errors import SettingsInvalid
from models.store.sources.files import FileSource
from models.store.sources.hf import HfSource
from models.store.sources.https import HttpsSource
from models.store.sources.mlflow import MlflowSource
from models.store.sources.s3 import S3Source
from models.store.sources.source import MAX_NAME_CHARACTERS, Source, SourceOptions

SCHEMES: Final = ("s3://", "https://", "http://", "file://", "hf://", "mlflow://", "models:/")


def open_source(text: str, options: SourceOptions) -> Source:
    """Return the source that `text` names. Nothing is read yet.

    Raise SettingsInvalid for an unknown scheme, a malformed source, and a client that is not installed.
    """
    if len(text) > MAX_NAME_CHARACTERS or not text.isprintable():
        raise SettingsInvalid(f"a source has at most {MAX_NAME_CHARACTERS} printable characters")
    match text.partition(":")[0]:
        case "s3":
            return S3Source(text, options)
        case "https" | "http":
            return HttpsSource(text, options)
        case "file":
            return FileSource(text)
        case "hf":
            return HfSource(text, options)
        case "mlflow" | "models":
            return MlflowSource(text, options)
        case scheme:
            raise SettingsInvalid(f"unknown scheme '{scheme[:20]}' of a source; known: {', '.join(SCHEMES)}")


def is_permitted(text: str, prefixes: Sequence[str]) -> bool:
    """Return whether `text` is below one of `prefixes`, such as `s3://models/` or `https://host/artifacts`.

    Only whole parts of the path count, and a path with `.` or `..` in it is below nothing.
    """
    place = text.partition("?")[0].partition("#")[0]
    parts = place.replace("%2e", ".").replace("%2E", ".").replace("\\", "/").split("/")
    if "." in parts or ".." in parts:
        return False
    folders = [prefix.rstrip("/") for prefix in prefixes if prefix]
    return any(place == folder or place.startswith(f"{folder}/") for folder in folders)
