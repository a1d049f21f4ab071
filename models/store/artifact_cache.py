"""A cache of artifact metadata by tag, for lookups per request. Weights are not opened."""

from __future__ import annotations

from pathlib import Path

from models.card import Task
from models.errors import ArtifactInvalid, ArtifactMissing
from models.store.artifacts import Artifact, verify, versions
from models.store.bento_models import locate, pinned_versions, store_of
from models.store.sources.records import last_version
from models.store.sources.source import is_source


class ArtifactCache:
    """The artifact `tag` and its other versions, for code in the folder `source`. Thread-safe; loads lazily.

    `tag` may be a source of artifacts, such as `s3://bucket/churn`, whose versions have `name` in the store. The
    configured version is then the one that was fetched last; `models.store.sources.resolve` fetches.
    """

    def __init__(self, tag: str, *, source: Path, name: str = "") -> None:
        self._remote = tag if is_source(tag) else ""
        self.name, _, version = (name if self._remote else tag).partition(":")
        self._configured = self._remote or version or "latest"
        self._source = source
        self._cache: dict[str, Artifact] = {}

    def find(self, version: str | None = None) -> Artifact:
        """Read the version, or the configured one, from the store. Raise ArtifactMissing or ArtifactInvalid."""
        artifact = locate(f"{self.name}:{version or self._configured_version()}", source=self._source)
        return self._cache.setdefault(artifact.version, artifact)

    def _configured_version(self) -> str:
        if not self._remote:
            return self._configured
        try:
            return last_version(self._remote, name=self.name)
        except ArtifactMissing:
            pinned = pinned_versions(self._source).get(self.name)
            if pinned is None:
                raise
            return pinned

    def find_verified(self, version: str | None = None) -> Artifact:
        """Find the version and verify the hash of every file. Raise ArtifactInvalid when a file was altered."""
        artifact = self.find(version)
        verify(artifact)
        return artifact

    def check(self, *tasks: Task) -> None:
        """Check that the configured version exists, is unaltered and has one of `tasks`.

        Raise ArtifactMissing or ArtifactInvalid.
        """
        artifact = self.find_verified()
        if artifact.card.task not in tasks:
            known = " or ".join(tasks)
            raise ArtifactInvalid(f"artifact '{artifact.tag}' has the task '{artifact.card.task}'; expected: {known}")

    def read(self, version: str | None = None) -> Artifact:
        """Return the cached artifact, or find it. Without a version: the configured one as it was at the first read."""
        key = version or self._configured
        if key not in self._cache:
            self._cache[key] = self.find(version)
        return self._cache[key]

    def versions(self) -> list[Artifact]:
        """List the usable versions of the model store and of the Bento, newest first."""
        pinned = pinned_versions(self._source).get(self.name, "")
        usable = {
            artifact.version: artifact
            for store in {store_of(f"{self.name}/{pinned}", source=self._source), store_of("", source=self._source)}
            for artifact in versions(self.name, store=store)
        }
        if not usable:
            raise ArtifactMissing(f"no artifact '{self.name}' in the model store; run: make train")
        return sorted(usable.values(), key=lambda artifact: (artifact.card.created, artifact.version), reverse=True)
