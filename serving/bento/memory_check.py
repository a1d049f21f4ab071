"""Refuses models whose files are larger than the memory of the machine, before they are loaded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from models.cores import usable_memory_bytes
from models.errors import SettingsInvalid
from models.store.artifact_cache import ArtifactCache
from models.store.artifacts import size_bytes

_GIB: Final = 1 << 30


def check_memory(artifacts: Iterable[ArtifactCache], *, what: str, usable_bytes: int | None = None) -> None:
    """Raise SettingsInvalid when the files of the configured versions are larger than the usable memory.

    Loaded models take at least the size of their files.
    """
    needed = sum(size_bytes(each.read()) for each in artifacts)
    usable = usable_memory_bytes() if usable_bytes is None else usable_bytes
    if needed > usable:
        raise SettingsInvalid(
            f"{what}: the files of the models have {needed / _GIB:.1f} GiB, and this process may use "
            f"{usable / _GIB:.1f} GiB of memory; serve fewer models, or place some on another host"
        )
