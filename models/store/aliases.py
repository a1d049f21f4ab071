"""Aliases of a model's versions: set, promote through the quality gate, roll back, remove, list.

Every change records its author and time. A change that is refused changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from models.errors import ArtifactError, ArtifactMissing, GateNotMet, InvalidInput, NotKnown
from models.store.alias_file import (
    Action,
    AliasChange,
    History,
    changing_aliases,
    is_alias,
    read_aliases,
)
from models.store.artifacts import Artifact, default_store, find
from models.store.gate import MARGIN, objection_to_promotion

CHAMPION: Final = "champion"


@dataclass(frozen=True, slots=True)
class AliasReport:
    """An alias, the version that it names, and its changes. `fault` is why the version cannot be used."""

    alias: str
    version: str
    history: History
    fault: str = ""


class Aliases:
    """The aliases of the model `name` in a store.

    `find_version` returns the artifact of a version that may be outside of the store, such as in a Bento.
    """

    def __init__(
        self, name: str, *, store: Path | None = None, find_version: Callable[[str], Artifact] | None = None
    ) -> None:
        self.name = name
        self._folder = (store or default_store()) / name
        self._find = find_version or (lambda version: find(f"{name}:{version}", store=store))

    def report(self) -> list[AliasReport]:
        """Return the aliases by name. Raise ArtifactInvalid where they cannot be read."""
        present = [
            (alias, history[-1].version, history)
            for alias, history in sorted(read_aliases(self._folder).items())
            if history
        ]
        return [
            AliasReport(alias, version, history, self._fault(alias))
            for alias, version, history in present
            if version is not None
        ]

    def history(self, alias: str) -> History:
        """Return the changes of an alias that names a version, the last one at the end. Raise NotKnown."""
        return self._history(alias, read_aliases(self._folder))

    def set(self, alias: str, version: str, *, author: str, reason: str = "") -> AliasChange:
        """Let `alias` name `version` without the quality gate.

        Raise ArtifactMissing and ArtifactInvalid for a version that cannot be used, InvalidInput for a name that an
        alias cannot have.
        """
        return self._change(alias, version, "set", author=author, reason=reason)

    def promote(
        self,
        alias: str,
        version: str,
        *,
        author: str,
        reason: str = "",
        margin: float = MARGIN,
        is_forced: bool = False,
    ) -> AliasChange:
        """Let `alias` name `version` if the gate has no objection to it in place of the present version.

        Where `is_forced`, an objection is recorded and does not count. Raise GateNotMet, and as `set`.
        """
        return self._change(alias, version, "promote", author=author, reason=reason, margin=margin, is_forced=is_forced)

    def rollback(self, alias: str, *, author: str, reason: str = "") -> AliasChange:
        """Let `alias` name its previous version again; once more, the one before that.

        Raise NotKnown where there is none, ArtifactMissing and ArtifactInvalid where it cannot be used.
        """
        self.history(alias)
        with changing_aliases(self._folder) as histories:
            versions = _stack(self._history(alias, histories))
            if len(versions) < 2:
                raise NotKnown(f"alias '{alias}' of '{self.name}' has no previous version", location=("path", "alias"))
            artifact = self._find(versions[-2])
            return _append(histories, alias, artifact.version, "rollback", author, reason)

    def remove(self, alias: str, *, author: str, reason: str = "") -> AliasChange:
        """Remove an alias; its history remains. Raise NotKnown with the known ones."""
        self.history(alias)
        with changing_aliases(self._folder) as histories:
            self._history(alias, histories)
            return _append(histories, alias, None, "remove", author, reason)

    def _change(
        self,
        alias: str,
        version: str,
        action: Action,
        *,
        author: str,
        reason: str,
        margin: float = MARGIN,
        is_forced: bool = False,
    ) -> AliasChange:
        if not is_alias(alias):
            raise InvalidInput(
                f"'{alias[:100]}' is not a valid alias: use at most 63 of a-z, 0-9, '-', '_' and '.', with a letter or "
                "a digit first and last, and not 'latest', which training moves",
                location=("path", "alias"),
            )
        self._find(version)
        self._folder.mkdir(parents=True, exist_ok=True)  # the version may be in a Bento only
        with changing_aliases(self._folder) as histories:
            artifact = self._find(version)
            if self._is_version(alias):
                message = f"'{alias}' is a version of '{self.name}'; an alias needs another name"
                raise InvalidInput(message, location=("path", "alias"))
            present = histories.get(alias, ())[-1:]
            if present and present[0].version == artifact.version:
                return present[0]
            objection = ""
            if action == "promote" and present and present[0].version is not None:
                objection = self._objection(artifact, present[0].version, margin)
            if objection and not is_forced:
                raise GateNotMet(
                    f"{artifact.tag} is not promoted to '{alias}': {objection}. A promotion that is forced, with a "
                    "reason, overrides this"
                )
            return _append(histories, alias, artifact.version, action, author, reason, objection)

    def _objection(self, artifact: Artifact, present: str, margin: float) -> str:
        try:
            champion = self._find(present)
        except ArtifactError as error:
            return f"it cannot be compared with the present version: {error}"
        return objection_to_promotion(artifact, champion, margin=margin)

    def _history(self, alias: str, histories: dict[str, History]) -> History:
        """Return the history of an alias that names a version. Raise NotKnown."""
        history = histories.get(alias, ())
        if not history or history[-1].version is None:
            known = ", ".join(name for name, each in sorted(histories.items()) if each and each[-1].version) or "none"
            raise NotKnown(f"no alias '{alias[:100]}' of '{self.name}'; known: {known}", location=("path", "alias"))
        return history

    def _is_version(self, alias: str) -> bool:
        try:
            return self._find(alias).version == alias
        except ArtifactMissing:
            return False
        except ArtifactError:
            return (self._folder / alias).is_dir()

    def _fault(self, alias: str) -> str:
        try:
            self._find(alias)
        except ArtifactError as error:
            return str(error)
        return ""


def _append(
    histories: dict[str, History],
    alias: str,
    version: str | None,
    action: Action,
    author: str,
    reason: str,
    overridden: str = "",
) -> AliasChange:
    change = AliasChange(version, action, datetime.now(UTC), author, reason, overridden)
    histories[alias] = (*histories.get(alias, ()), change)
    return change


def _stack(history: History) -> list[str]:
    """Return the versions that rollbacks return to, the present one last."""
    versions: list[str] = []
    for change in history:
        if change.action == "rollback":
            versions = versions[:-1]
        if change.version is not None and change.version not in versions[-1:]:
            versions.append(change.version)
    return versions
