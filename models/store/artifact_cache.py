"""Artifacts by tag, each read once: what the gateway looks up per request. Opens no weights."""

from __future__ import annotations

from pathlib import Path

from models.card import Task
from models.errors import ArtifactInvalid, ArtifactMissing
from models.store.artifacts import Artifact, verify, versions
from models.store.bento_models import locate, pinned_versions, store_of


class ArtifactCache:
    """The artifact `tag` and its other versions, for code that lies in the folder `source`. Reads nothing by itself.

    Safe to use from several threads.
    """

    def __init__(self, tag: str, *, source: Path) -> None:
        self.name, _, version = tag.partition(":")
        self._configured = version or "latest"
        self._source = source
        self._read: dict[str, Artifact] = {}

    def find(self, version: str | None = None) -> Artifact:
        """That version, or the configured one, as the store has it now. Raises ArtifactMissing or ArtifactInvalid."""
        artifact = locate(f"{self.name}:{version or self._configured}", source=self._source)
        return self._read.setdefault(artifact.version, artifact)

    def whole(self, version: str | None = None) -> Artifact:
        """As `find`, with every file compared with what was saved. Raises ArtifactInvalid for one that was altered."""
        artifact = self.find(version)
        verify(artifact)
        return artifact

    def check(self, *tasks: Task) -> None:
        """Raise ArtifactMissing or ArtifactInvalid where the configured version is not there, was altered, or is of
        another task than these."""
        artifact = self.whole()
        if artifact.card.task not in tasks:
            known = " or ".join(tasks)
            raise ArtifactInvalid(f"artifact '{artifact.tag}' is of task '{artifact.card.task}', not of {known}")

    def read(self, version: str | None = None) -> Artifact:
        """As `find`, from memory when it was read before. Without a version: the configured one as first read."""
        wanted = version or self._configured
        if wanted not in self._read:
            self._read[wanted] = self.find(version)
        return self._read[wanted]

    def versions(self) -> list[Artifact]:
        """Every usable version, newest first: the store's and the Bento's own."""
        pinned = pinned_versions(self._source).get(self.name, "")
        found = {
            artifact.version: artifact
            for store in {store_of(f"{self.name}/{pinned}", source=self._source), store_of("", source=self._source)}
            for artifact in versions(self.name, store=store)
        }
        if not found:
            raise ArtifactMissing(f"no artifact '{self.name}' in the model store; run: make train")
        return sorted(found.values(), key=lambda artifact: (artifact.card.created, artifact.version), reverse=True)
