"""A check that feature tables match the attributes that a model was trained with."""

from __future__ import annotations

from models.errors import ArtifactInvalid
from models.recommender.dataset.encoding import Encoder
from models.recommender.dataset.feature_files import ITEMS, USERS
from models.recommender.dataset.feature_tables import FeatureSnapshot, FeatureTable, TextColumn


def check_attributes(features: FeatureSnapshot, *, users: Encoder, items: Encoder) -> None:
    """Raise ArtifactInvalid when a column holds text and the model was trained with numbers."""
    _check(features.users, users, USERS)
    _check(features.items, items, ITEMS)


def _check(table: FeatureTable, encoder: Encoder, file: str) -> None:
    for attribute in encoder.attributes:
        column = table.columns.get(attribute.name)
        if attribute.kind != "number" or not isinstance(column, TextColumn):
            continue
        invalid = next((text for text in column.vocabulary if column.is_list or not _is_number(text)), None)
        if invalid is not None:
            raise ArtifactInvalid(
                f"column '{attribute.name}' of {file} holds '{invalid[:40]}'; the model was trained with numbers"
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
