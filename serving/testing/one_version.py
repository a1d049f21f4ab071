"""A catalog of one version of one model, without aliases."""

from __future__ import annotations

from models.store.artifacts import Artifact
from serving.versions.catalog import CatalogAlias, CatalogEntry


class OneVersion:
    """The catalog of a service with the model of `artifact` alone. Has the methods of a `ModelCatalog`."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact

    def aliases(self) -> list[CatalogAlias]:
        """Return no alias."""
        return []

    def entries(self) -> list[CatalogEntry]:
        """Return the version, which is the default one."""
        return [CatalogEntry(self._artifact.card, self._artifact.version, served=True)]
