"""Whether feature tables can be encoded as the attributes that a model learned from. Knows tables and encoders."""

from __future__ import annotations

from models.errors import ArtifactInvalid
from models.recommender.dataset.encoding import Encoder
from models.recommender.dataset.feature_store import ITEMS, USERS, Features, FeatureTable, Words


def check_attributes(features: Features, *, users: Encoder, items: Encoder) -> None:
    """Raise ArtifactInvalid where a column holds text, and numbers were learned from."""
    _check(features.users, users, USERS)
    _check(features.items, items, ITEMS)


def _check(table: FeatureTable, encoder: Encoder, file: str) -> None:
    for attribute in encoder.attributes:
        column = table.columns.get(attribute.name)
        if attribute.kind != "number" or not isinstance(column, Words):
            continue
        wrong = next((word for word in column.known if column.is_list or not _is_number(word)), None)
        if wrong is not None:
            raise ArtifactInvalid(
                f"column '{attribute.name}' of {file} holds '{wrong[:40]}', and the model learned from numbers there"
            )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
