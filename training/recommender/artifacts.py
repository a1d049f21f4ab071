"""Save fitted algorithms into the model store: one artifact with all of them, or one artifact each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from models.card import Card
from models.recommender import archive
from models.recommender.archive import Contents
from models.recommender.online.predictor import Recommender
from models.store.artifacts import Artifact
from training.promotion import saving_version
from training.recommender import feature_tables
from training.recommender.feature_tables import FeatureTables
from training.report import print_summary, step, write_report


def parts(contents: Contents, name: str, *, one_each: bool) -> Iterator[tuple[str, Contents]]:
    """Yield the name and contents of each artifact to save. The default algorithm's artifact comes first."""
    if not one_each:
        yield name, contents
        return
    for algorithm, fitted in contents.algorithms.items():
        yield f"{name}-{algorithm}", replace(contents, algorithms={algorithm: fitted}, default=algorithm)


def save(card: Card, contents: Contents, tables: FeatureTables, *, is_forced: bool = False) -> Artifact:
    """Save one artifact, load it, and check that it recommends."""
    with step(f"saving {card.name}"), saving_version(card, is_forced=is_forced) as saved:
        archive.write(contents, saved.folder)
        feature_tables.write(tables, saved.folder)
        write_report(card, saved.folder)
    artifact = saved.artifact
    predictor = Recommender.load(artifact)
    predictor.recommend([predictor.example()])
    print_summary(card, tag=artifact.tag, folder=artifact.folder)
    return artifact
