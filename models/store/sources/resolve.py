"""The local version of a source: fetched now, or the newest one that came from it earlier."""

from __future__ import annotations

from pathlib import Path

from models.errors import PlatformError
from models.store.bento_models import pinned_version
from models.store.sources.fetch import fetch
from models.store.sources.progress import Report, log
from models.store.sources.records import last_version
from models.store.sources.source import DEFAULT_OPTIONS, SourceOptions, label_of


def resolve(
    source: str,
    *,
    name: str,
    store: Path | None = None,
    code: Path | None = None,
    options: SourceOptions = DEFAULT_OPTIONS,
    report: Report | None = None,
) -> str:
    """Fetch what the source holds now, as `name`, and return its version. Blocks.

    When that fails, and a version that came from the source is in the store, return the newest of them and log a
    warning. Otherwise raise what `fetch` raises. In a Bento, around the folder `code`, that was built with a version
    from the source, return that version and fetch nothing.
    """
    if code is not None and (pinned := pinned_version(name, label_of(source), code=code)):
        return pinned
    try:
        return fetch(source, name=name, store=store, options=options, report=report).version
    except PlatformError as error:
        try:
            version = last_version(source, name=name, store=store)
        except PlatformError:
            raise error from None
        log.warning("%s; %s is used, which came from it earlier", error, f"{name}:{version}")
        return version
