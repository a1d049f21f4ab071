"""Decide whether a new version of a model becomes the one that `latest` names, and save it.

A version is saved in any case. It is promoted unless it is worse than the present `latest`, or answers another
question: other classes or other inputs would break the clients of a service. `--promote` overrides the decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bentoml import Tag

from models.card import Card
from models.errors import ArtifactError
from models.store.artifacts import Artifact, check_name, find
from models.store.gate import MARGIN, objection_to
from models.store.saving import saving
from training.report import console

PROMOTE_HELP = (
    f"make the new version the one that `latest` names, also when its main metric is more than {MARGIN:g} worse, or "
    "its classes or inputs are others, than those of the present one"
)


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version that is being saved: write its files into `folder`. `artifact` is available after the block."""

    tag: str
    folder: Path
    store: Path | None

    @property
    def artifact(self) -> Artifact:
        """The saved artifact. Raises ArtifactMissing inside the block."""
        return find(self.tag, store=self.store)


@contextmanager
def saving_version(card: Card, *, is_forced: bool, store: Path | None = None) -> Iterator[NewVersion]:
    """Yield the folder of a new version, as `saving` does, and promote it unless there is an objection."""
    check_name(card.name)
    tag = Tag.from_str(card.name).make_new_version()
    objection = "" if is_forced else objection_to_latest(card, store=store)
    with saving(card, version=tag.version, store=store, is_promoted=not objection) as folder:
        yield NewVersion(str(tag), folder, store)
    if objection:
        console.print(
            f"  warning: {tag} is saved, and `latest` still names the previous version: {objection}. "
            "--promote overrides this",
            soft_wrap=True,
            markup=False,
        )


def objection_to_latest(card: Card, *, store: Path | None = None) -> str:
    """Return why a version with `card` should not replace the present `latest`, or an empty text."""
    try:
        present = find(card.name, store=store)
    except ArtifactError:
        return ""
    return objection_to(card, present)
