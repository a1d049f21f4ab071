"""A cache of artifact metadata by tag, for lookups per request. Weights are not opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from models.card import Task
from models.errors import ArtifactInvalid, ArtifactMissing
from models.store.aliases import Aliases
from models.store.artifacts import Artifact, verify, versions
from models.store.bento_models import locate, pinned_version, pinned_versions, store_of
from models.store.sources.records import last_version
from models.store.sources.source import is_source, label_of
from models.store.usage import keep


class ArtifactCache:
    """The artifact `tag` and its other versions, for code in the folder `code`. Thread-safe; loads lazily.

    The artifacts have the name `served_as`, which is that of the tag unless one is given. The version of `tag` may be
    an alias. `tag` may also be a source of artifacts, such as `s3://bucket/churn`: its versions are stored as
    `served_as`, and the configured one is that which was fetched last. In a Bento it is the one that the Bento was
    built with, unless the source `is_watched`. `models.store.sources.resolve` fetches.
    """

    def __init__(self, tag: str, *, code: Path, served_as: str = "", is_watched: bool = False) -> None:
        self._remote = tag if is_source(tag) else ""
        self._stored_as, _, version = (served_as if self._remote else tag).partition(":")
        self.name = served_as or self._stored_as
        self._configured = self._remote or version or "latest"
        self._code = code
        self._is_watched = is_watched
        self._cache: dict[str, Artifact] = {}

    def find(self, version: str | None = None) -> Artifact:
        """Read the version, or the configured one, from the store. Raise ArtifactMissing or ArtifactInvalid."""
        wanted = version or self._configured_version()
        artifact = self._named(locate(f"{self._stored_as}:{wanted}", code=self._code))
        return self._cache.setdefault(artifact.version, artifact)

    def _configured_version(self) -> str:
        if not self._remote:
            return self._configured
        pinned = pinned_version(self._stored_as, label_of(self._remote), code=self._code)
        if pinned and not self._is_watched:
            return pinned
        try:
            return last_version(self._remote, name=self._stored_as)
        except ArtifactMissing:
            if not pinned:
                raise
            return pinned

    def stored_tag(self) -> str:
        """Return the tag of the configured version in the store. Raise as `find`."""
        return f"{self._stored_as}:{self.read().version}"

    @property
    def alias(self) -> str:
        """The configured alias, or the label of the source; empty for a version and `latest`. Raise as `find`."""
        if self._remote:
            return label_of(self._remote)
        return "" if self._configured in ("latest", self.read().version) else self._configured

    def find_verified(self, version: str | None = None) -> Artifact:
        """Find the version and verify the hash of every file. Raise ArtifactInvalid when a file was altered.

        The version cannot be deleted while the returned object exists: loaded models keep it.
        """
        artifact = keep(self.find(version))
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

    @property
    def aliases(self) -> Aliases:
        """The aliases of the model, in the model store."""
        return Aliases(self._stored_as, find_version=self.find)

    def versions(self) -> list[Artifact]:
        """List the usable versions of the model store and of the Bento, newest first."""
        name = self._stored_as
        pinned = pinned_versions(self._code).get(name, "")
        usable = {
            artifact.version: self._named(artifact)
            for store in {store_of(f"{name}/{pinned}", code=self._code), store_of("", code=self._code)}
            for artifact in versions(name, store=store)
        }
        if not usable:
            raise ArtifactMissing(f"no artifact '{name}' in the model store; run: make train")
        return sorted(usable.values(), key=lambda artifact: (artifact.card.created, artifact.version), reverse=True)

    def _named(self, artifact: Artifact) -> Artifact:
        """Return the artifact under the name that it is served as."""
        if artifact.name == self.name:
            return artifact
        return replace(artifact, name=self.name, card=replace(artifact.card, name=self.name))
