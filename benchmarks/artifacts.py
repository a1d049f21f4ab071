"""Artifacts of the model store, and a synthetic recommender artifact in the same format.

The peers serve the same files. This module reads and writes them without the code of the service.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTH = 64
_SEED = 11
_LAYOUT = 3
_MIN_USERS = 2000
_SEEN_PER_USER = 20
_SEEN_BY_HEAVY_USER = 110


def cache_folder() -> Path:
    """Return the folder of the environments and generated files: `$MAKUNOUCHI_CACHE/bench`."""
    return Path(os.environ.get("MAKUNOUCHI_CACHE") or Path.home() / ".cache" / "makunouchi") / "bench"


def model_store() -> Path:
    """Return the model store: the folder `models` of `$BENTOML_HOME`."""
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "models"


def newest(name: str, store: Path | None = None) -> Path | None:
    """Return the folder of the latest version of an artifact by creation time, or None if there is no version."""
    versions = []
    for card in ((store or model_store()) / name).glob("*/card.json"):
        try:
            versions.append((json.loads(card.read_bytes())["created"], card.parent))
        except (ValueError, KeyError, OSError):
            continue
    return max(versions)[1] if versions else None


def read_card(folder: Path) -> dict[str, Any]:  # Any: JSON
    """Return the card of an artifact as JSON."""
    card: dict[str, Any] = json.loads((folder / "card.json").read_bytes())
    return card


def create_home(artifacts: Iterable[Path], folder: Path) -> Path:
    """Create a BentoML home folder whose model store contains links to the artifacts, and return it.

    Each service needs a separate home: at start, a service deletes the metrics of another one in the same home.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for artifact in artifacts:
        place = folder / "models" / artifact.parent.name
        place.mkdir(parents=True, exist_ok=True)
        (place / artifact.name).symlink_to(artifact.resolve())
        (place / "latest").write_text(artifact.name)
    (folder / "models").mkdir(parents=True, exist_ok=True)
    return folder


def synthetic_catalogue(items: int) -> Path:
    """Return the folder of a recommender with `items` items and as many users (at least 2,000), 64 random factors each.

    The folder is created once and cached. A user has seen 20 items; every tenth user has seen 110.
    """
    name = f"catalogue-{items}"
    folder = cache_folder() / "store" / name / f"v{_LAYOUT}"
    if (folder / "manifest.json").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    random = np.random.default_rng(_SEED)
    users = max(_MIN_USERS, items)
    _write(folder / "users", _index([f"u{row}" for row in range(users)]))
    ids = [f"i{row}" for row in range(items)]
    _write(folder / "items", _index(ids))
    _write(folder / "titles", _texts([f"Item {row}" for row in range(items)]))
    _write(folder / "interactions", _interactions(users, items, random))
    _write(folder / "models" / "lightfm-warp", _factors(users, items, random))
    recommender = {
        "format": 1,
        "default": "lightfm-warp",
        "algorithms": {"lightfm-warp": {}},
        "user_encoder": [],
        "item_encoder": [],
    }
    (folder / "recommender.json").write_text(json.dumps(recommender))
    (folder / "card.json").write_text(json.dumps(_card(name, items)))
    _write_manifest(folder)
    return folder


def _factors(users: int, items: int, random: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    # Clusters of items and varying biases, like those of trained factors: a realistic input for an approximate index.
    centres = random.normal(size=(64, _WIDTH)).astype(np.float32)
    item_factors = random.normal(scale=0.5, size=(items, _WIDTH)).astype(np.float32)
    item_factors += centres[random.integers(0, len(centres), items)]
    user_factors = random.normal(scale=0.5, size=(users, _WIDTH)).astype(np.float32)
    user_factors += centres[random.integers(0, len(centres), users)]
    return {
        "user_factors": user_factors,
        "item_factors": item_factors,
        "item_biases": random.normal(scale=0.3, size=items).astype(np.float32),
        "feature_factors": np.zeros((0, _WIDTH), np.float32),
    }


def _interactions(users: int, items: int, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    heavy = np.arange(users) % 10 == 0
    counts = np.minimum(np.where(heavy, _SEEN_BY_HEAVY_USER, _SEEN_PER_USER), max(1, items // 2))
    starts = np.concatenate(([0], np.cumsum(counts)))
    # Steps of at least 1, short enough to stay in the catalogue: item rows are sorted and unique.
    steps = random.integers(1, np.repeat(items // counts, counts) + 1)
    offsets = np.cumsum(steps)
    columns = offsets - np.repeat(offsets[starts[:-1]], counts) + np.repeat(random.integers(0, items // counts), counts)
    return {
        "seen_data": np.ones(len(columns), np.float32),
        "seen_indices": columns.astype(np.int32),
        "seen_indptr": starts.astype(np.int32),
    }


def _texts(texts: list[str]) -> dict[str, NDArray[Any]]:
    parts = [text.encode() for text in texts]
    ends = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
    return {"bytes": np.frombuffer(b"".join(parts), np.uint8), "ends": ends}


def _index(ids: list[str]) -> dict[str, NDArray[Any]]:
    hashes = np.array(
        [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in ids], np.uint64
    )
    order = np.argsort(hashes, kind="stable")
    return {**_texts(ids), "hashes": hashes[order], "rows": order.astype(np.int64)}


def _write(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)


def _card(name: str, items: int) -> dict[str, Any]:
    return {
        "name": name,
        "task": "recommendation",
        "algorithm": "lightfm-warp",
        "created": datetime.now(UTC).isoformat(),
        "inputs": [{"name": "user_id", "kind": "text", "example": "u0"}],
        "outputs": [{"name": "item_id", "kind": "text", "example": "i0"}],
        "metrics": {"items": float(items)},
        "data": {"name": "random factors", "sha256": hashlib.sha256(name.encode()).hexdigest(), "rows": items},
        "description": "Random factors for performance measurements.",
    }


def _write_manifest(folder: Path) -> None:
    files = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
