"""Fetch an artifact from a source into the model store.

A fetch continues an interrupted one, verifies every file, and publishes the artifact by one rename. Its version is the
beginning of the SHA-256 of its manifest, so the same content has the same version on every host. What the store holds
already is not transferred.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing, suppress
from pathlib import Path

from models.card import read_card
from models.errors import ArtifactError, ArtifactInvalid, StoreUnavailable
from models.store.artifacts import (
    Artifact,
    check_name,
    default_store,
    find,
    read_artifact,
    verify,
    versions,
)
from models.store.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, file_sha256, parse_manifest
from models.store.saving import promote, publish, staging_folder
from models.store.sources.download import Download, Expected
from models.store.sources.progress import LogLines, Meter, Report, log
from models.store.sources.records import SourceFolder
from models.store.sources.schemes import open_source
from models.store.sources.source import DEFAULT_OPTIONS, Source, SourceOptions
from models.store.unpacking import unpack


def fetch(
    text: str,
    *,
    name: str,
    store: Path | None = None,
    options: SourceOptions = DEFAULT_OPTIONS,
    report: Report | None = None,
    is_promoted: bool = False,
) -> Artifact:
    """Return the artifact that the source `text` holds now, as a version of `name` in the store.

    `latest` then names it if it `is_promoted`, or if `name` has no other version. Blocks, for hours if need be. Raise
    SettingsInvalid, ArtifactMissing, ArtifactInvalid, SourceUnavailable, and StoreUnavailable for a store that cannot
    be written. The store is then as before.
    """
    check_name(name)
    store = store or default_store()
    with closing(open_source(text, options)) as source:
        folder = SourceFolder(store, name=name, source=text)
        try:
            with folder.locked():
                return _Fetch(source, folder, name, store, options, report or LogLines()).run(is_promoted=is_promoted)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StoreUnavailable(f"source '{source.label}' cannot be saved in the model store: {reason}") from error


class _Fetch:
    def __init__(
        self, source: Source, folder: SourceFolder, name: str, store: Path, options: SourceOptions, report: Report
    ) -> None:
        self._source = source
        self._folder = folder
        self._name = name
        self._store = store
        self._options = options
        self._meter = Meter(source.label, report)
        self._download = Download(source, options, self._meter)

    def run(self, *, is_promoted: bool) -> Artifact:
        revision = self._download.revision()
        artifact = self._recorded(revision)
        if artifact is None:
            artifact = self._from_archive(revision) if self._source.is_archive else self._from_folder()
        if self._folder.read().current != (revision, artifact.version):
            self._folder.write(revision, artifact.version)
        if is_promoted:
            promote(artifact)
        return artifact

    def _recorded(self, revision: str) -> Artifact | None:
        """Return the version that the source had at this revision, if it is in the store."""
        record = self._folder.read()
        if not revision or record.revision != revision:
            return None
        with suppress(ArtifactError):
            return find(f"{self._name}:{record.versions[0]}", store=self._store)
        return None

    def _from_folder(self) -> Artifact:
        data = self._download.to_bytes(MANIFEST_FILE, max_bytes=MAX_MANIFEST_BYTES)
        manifest = self._manifest(data)
        present = stored(self._name, manifest.digest, store=self._store)
        if present is not None:
            return present
        files = self._folder.partial(manifest.digest)
        self._check_space(manifest.total_bytes, files)
        self._meter.total_bytes = manifest.total_bytes
        for file, (size_bytes, sha256) in manifest.files.items():
            self._download.to_file(file, files / file, Expected(self._options.max_bytes, size_bytes, sha256))
        (files / MANIFEST_FILE).write_bytes(data)
        return self._publish(files, manifest)

    def _from_archive(self, revision: str) -> Artifact:
        archive = self._folder.partial(revision or "unknown") / "archive"
        if not revision:
            # It may be another archive than the one that was begun.
            archive.unlink(missing_ok=True)
        is_continued = archive.exists()
        try:
            return self._unpacked(archive)
        except ArtifactInvalid:
            archive.unlink(missing_ok=True)
            if not is_continued:
                raise
        return self._unpacked(archive)

    def _unpacked(self, archive: Path) -> Artifact:
        self._download.to_file("", archive, Expected(self._options.max_bytes))
        folder = archive.with_name("unpacked")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            files = unpack(archive, folder, max_bytes=self._options.max_bytes, bound="source_max_bytes")
            data = (files / MANIFEST_FILE).read_bytes()
        except FileNotFoundError:
            raise self._refused(f"it has no {MANIFEST_FILE}") from None
        except ArtifactInvalid as error:
            raise self._refused(error) from None
        manifest = self._manifest(data)
        present = stored(self._name, manifest.digest, store=self._store)
        if present is None:
            return self._publish(files, manifest)
        self._folder.clear()
        return present

    def _manifest(self, data: bytes) -> Manifest:
        """Return the manifest of the source. Raise ArtifactInvalid for what may not be fetched."""
        try:
            manifest = parse_manifest(data)
        except ArtifactInvalid as error:
            raise self._refused(error) from None
        total, maximum = manifest.total_bytes, self._options.max_bytes
        if total > maximum:
            raise self._refused(f"it has {total} bytes; the maximum is {maximum} (source_max_bytes)")
        return manifest

    def _refused(self, reason: object) -> ArtifactInvalid:
        return ArtifactInvalid(f"source '{self._source.label}' is refused: {reason}; nothing was saved")

    def _check_space(self, total_bytes: int, files: Path) -> None:
        present = sum(path.stat().st_size for path in files.rglob("*") if path.is_file())
        free = shutil.disk_usage(files).free
        if total_bytes - present > free:
            raise StoreUnavailable(
                f"source '{self._source.label}' needs {total_bytes - present} bytes, and the disk of the model store "
                f"has {free} free"
            )

    def _publish(self, files: Path, manifest: Manifest) -> Artifact:
        import bentoml
        from bentoml._internal.models import ModelStore

        self._meter.report()
        is_first = not versions(self._name, store=self._store)
        with staging_folder(self._store) as staging:
            try:
                card = read_card(files)
                metadata = {"task": card.task, "algorithm": card.algorithm}
                tag = f"{self._name}:{manifest.version}"
                with bentoml.models.create(tag, metadata=metadata, _model_store=ModelStore(staging)) as model:
                    pass  # BentoML writes its model.yaml; files are moved, because it would copy them twice
                staged = staging / str(model.tag.path())
                for file in (MANIFEST_FILE, *manifest.files):
                    (staged / file).parent.mkdir(parents=True, exist_ok=True)
                    os.rename(files / file, staged / file)
                verify(read_artifact(staged))
            except (ArtifactInvalid, FileNotFoundError) as error:
                reason = error if isinstance(error, ArtifactInvalid) else "a file of its manifest is missing"
                raise self._refused(reason) from error
            try:
                artifact = publish(staged, store=self._store, is_promoted=is_first)
            except ArtifactInvalid as error:
                raise self._refused(error) from error
            except OSError:
                # Another host that shares the store may have published it in the meantime.
                present = stored(self._name, manifest.digest, store=self._store)
                if present is None:
                    raise
                artifact = present
        self._folder.clear()
        log.info("source '%s': saved as %s", self._source.label, artifact.tag)
        return artifact


def stored(name: str, digest: str, *, store: Path) -> Artifact | None:
    """Return the version of `name` in the store whose manifest has the SHA-256 `digest`."""
    usable = versions(name, store=store)
    return next((each for each in usable if file_sha256(each.folder / MANIFEST_FILE) == digest), None)
