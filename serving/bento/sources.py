"""Models whose artifact comes from a source, such as `s3://models/churn`: fetched at the start, or for a change.

The process that starts the others fetches. They find the version in the store, without a request to the source.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from models.errors import PlatformError, SettingsInvalid
from models.store.sources.source import is_source, label_of
from serving.observability.logging import set_up_logs
from serving.settings.model_list import ModelEntry
from serving.settings.settings import Settings, source_options


def fetch_at_start(entries: Sequence[ModelEntry], settings: Settings, *, code: Path) -> dict[str, str]:
    """Fetch the artifacts of entries that name a source, in the process that starts the others. Blocks.

    Return why by name, for entries whose source cannot be read and that have no version from it.
    """
    faults: dict[str, str] = {}
    for entry in entries if is_starter(sys.argv) else ():
        if is_source(entry.artifact):
            from models.store.sources.resolve import resolve  # the clients of sources, which few services need

            # BentoML shows errors alone of other loggers.
            set_up_logs(settings.log_level)
            try:
                resolve(entry.artifact, name=entry.name, code=code, options=source_options(settings))
            except PlatformError as error:
                faults[entry.name] = str(error)
    return faults


def fetch_for_change(entry: ModelEntry, settings: Settings, *, is_configured: bool, code: Path) -> None:
    """Fetch the artifact of an entry that an administrator adds, or loads. Blocks.

    A configured one is loaded also while its source is away, as at the start. Raises ArtifactError, and SettingsInvalid
    for a source that is neither configured nor below a permitted prefix.
    """
    if not is_source(entry.artifact):
        return
    from models.store.sources.resolve import resolve
    from models.store.sources.schemes import is_permitted

    if is_configured:
        resolve(entry.artifact, name=entry.name, code=code, options=source_options(settings))
    elif is_permitted(entry.artifact, settings.source_prefixes):
        fetch_now(entry, settings)
    else:
        raise SettingsInvalid(
            f"source '{label_of(entry.artifact)}' is not below one of MAKUNOUCHI_SOURCE_PREFIXES, from which models "
            "may be loaded while the service runs"
        )


def fetch_now(entry: ModelEntry, settings: Settings) -> str:
    """Fetch what the source of an entry holds now, and return its version. Blocks. Raises ArtifactError."""
    from models.store.sources.fetch import fetch

    return fetch(entry.artifact, name=entry.name, options=source_options(settings)).version


def is_starter(arguments: Sequence[str]) -> bool:
    """Return whether a process with these arguments is `bentoml serve`, `bentoml build` or the image's process 1."""
    program = Path(arguments[0]) if arguments else Path()
    return program.name in ("bentoml", "supervisor.py") or program.parts[-2:] == ("bentoml", "__main__.py")
