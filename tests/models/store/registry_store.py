"""A model store with versions of one model, for the tests of the registry."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from models.card import DataSource
from models.store.artifacts import Artifact, find
from models.store.saving import saving
from tests.models.test_card import make_card

START = datetime(2026, 1, 1, tzinfo=UTC)
DATA = DataSource("churn.csv", "ab" * 32, 100)


def save_version(store: Path, version: str, *, auc: float = 0.8, name: str = "churn", **changes: Any) -> Artifact:
    """Save a version whose date follows from its number, such as 2 in `v2`. The newest is `latest`."""
    created = START + timedelta(days=int(version.removeprefix("v")) if version[1:].isdigit() else 0)
    fields: dict[str, Any] = {"metrics": {"roc_auc": auc, "log_loss": 1 - auc}, "data": DATA} | changes
    card = replace(make_card(name, created=created), **fields)
    with saving(card, version=version, store=store) as folder:
        (folder / "weights.npy").write_bytes(b"weights " * 1000)
        (folder / "more").mkdir()
        (folder / "more" / "labels.json").write_text('["a"]')
    return find(f"{name}:{version}", store=store)
