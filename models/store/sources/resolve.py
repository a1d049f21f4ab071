"""The local version of a source: fetched now, or the newest one that came from it earlier.

Settings name an artifact by tag or by source; `local_tag` gives the tag in both cases.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from models.errors import PlatformError
from models.store.artifacts import MANIFEST_FILE, Artifact, default_store, file_sha256
from models.store.bento_models import pinned_versions
from models.store.sources.download import Download
from models.store.sources.fetch import fetch
from models.store.sources.manifest import MAX_MANIFEST_BYTES, read_manifest
from models.store.sources.progress import LogLines, Meter, Report, log
from models.store.sources.records import SourceFolder, last_version
from models.store.sources.schemes import open_source
from models.store.sources.source import DEFAULT_OPTIONS, SourceOptions, is_source


def local_tag(configured: str, *, name: str, code: Path | None = None, options: SourceOptions = DEFAULT_OPTIONS) -> str:
    """Return the tag to serve for `configured`, which is a tag already or a source. Blocks while it fetches.

    In a Bento, around the folder `code`, the version that the Bento was built with takes precedence over a source, as
    it does over `latest`. Raise PlatformError, as `resolve` does.
    """
    if not is_source(configured):
        return configured
    pinned = pinned_versions(code).get(name) if code else None
    return f"{name}:{pinned or resolve(configured, name=name, options=options)}"


def resolve(
    source: str,
    *,
    name: str,
    store: Path | None = None,
    options: SourceOptions = DEFAULT_OPTIONS,
    report: Report | None = None,
) -> str:
    """Fetch what the source holds now, as `name`, and return its version.

    When that fails, and a version that came from the source is in the store, return the newest of them and log a
    warning. Otherwise raise what `fetch` raises.
    """
    try:
        return fetch(source, name=name, store=store, options=options, report=report).version
    except PlatformError as error:
        try:
            version = last_version(source, name=name, store=store)
        except PlatformError:
            raise error from None
        log.warning("%s; %s is used, which came from it earlier", error, f"{name}:{version}")
        return version


def newer(source: str, have: Artifact, *, store: Path | None = None, options: SourceOptions = DEFAULT_OPTIONS) -> bool:
    """Return whether the source holds another content than the artifact `have`: then fetch it.

    Costs one request while nothing changes, three at most. Raise what `fetch` raises.
    """
    with closing(open_source(source, options)) as opened:
        record = SourceFolder(store or default_store(), name=have.name, source=source).read()
        download = Download(opened, options, Meter(opened.label, LogLines()))
        revision = download.revision()
        if revision and revision == record.revision:
            return record.versions[0] != have.version
        if opened.is_archive:
            return True
        data = download.to_bytes(MANIFEST_FILE, max_bytes=MAX_MANIFEST_BYTES)
        manifest = read_manifest(data, label=opened.label, max_bytes=options.max_bytes)
        return manifest.digest != file_sha256(have.folder / MANIFEST_FILE)
