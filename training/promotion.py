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
from models.store.artifacts import Artifact, check_name, find, saving
from training.report import console

MAX_DROP = 0.02
PROMOTE_HELP = (
    f"make the new version the one that `latest` names, also when its main metric is more than {MAX_DROP:g} lower, or "
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
    objection = "" if is_forced else objection_to(card, store=store)
    with saving(card, version=tag.version, store=store, is_promoted=not objection) as folder:
        yield NewVersion(str(tag), folder, store)
    if objection:
        console.print(
            f"  warning: {tag} is saved, and `latest` still names the previous version: {objection}. "
            "--promote overrides this",
            soft_wrap=True,
            markup=False,
        )


def objection_to(card: Card, *, store: Path | None = None) -> str:
    """Return why a version with `card` should not replace the present `latest`, or an empty text."""
    try:
        present = find(card.name, store=store)
    except ArtifactError:
        return ""
    other = present.card
    if other.task != card.task:
        return f"its task is {card.task}, and that of {present.tag} is {other.task}"
    if other.classes != card.classes:
        return f"its classes differ from those of {present.tag}"
    if [(column.name, column.kind) for column in other.inputs] != [
        (column.name, column.kind) for column in card.inputs
    ]:
        return f"its inputs differ from those of {present.tag}"
    if [(column.name, column.categories) for column in other.outputs] != [
        (column.name, column.categories) for column in card.outputs
    ]:
        return f"its outputs differ from those of {present.tag}"
    metric = next(iter(card.metrics), "")
    if metric in other.metrics and card.metrics[metric] < other.metrics[metric] - MAX_DROP:
        return f"its {metric} is {card.metrics[metric]:.4f}, and that of {present.tag} is {other.metrics[metric]:.4f}"
    return ""
