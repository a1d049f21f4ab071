"""Files of the model store that peers serve as well, and a synthetic catalogue in the same format.

Reads and writes files only; what they mean to the service is its own business.
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
    """Where environments and made files are kept: `$MAKUNOUCHI_CACHE/bench`."""
    return Path(os.environ.get("MAKUNOUCHI_CACHE") or Path.home() / ".cache" / "makunouchi") / "bench"


def model_store() -> Path:
    """The folder `models` of `$BENTOML_HOME`."""
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "models"


def newest(name: str, store: Path | None = None) -> Path | None:
    """The folder of the newest version of an artifact, by its card; None when there is none."""
    found = []
    for card in ((store or model_store()) / name).glob("*/card.json"):
        try:
            found.append((json.loads(card.read_bytes())["created"], card.parent))
        except (ValueError, KeyError, OSError):
            continue
    return max(found)[1] if found else None


def read_card(folder: Path) -> dict[str, Any]:  # Any: JSON
    """The card of an artifact, as plain JSON."""
    card: dict[str, Any] = json.loads((folder / "card.json").read_bytes())
    return card


def home_with(artifacts: Iterable[Path], folder: Path) -> Path:
    """A home for one running BentoML: a folder whose store holds links to these artifacts.

    Two services with one home delete each other's metrics at start.
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
    """A recommender of `items` random items and as many users (at least 2,000), 64 factors each, made once and kept.

    Users have seen 20 items, one in ten of them 110.
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
    described = {
        "format": 1,
        "default": "lightfm-warp",
        "algorithms": {"lightfm-warp": {}},
        "user_encoder": [],
        "item_encoder": [],
    }
    (folder / "recommender.json").write_text(json.dumps(described))
    (folder / "card.json").write_text(json.dumps(_card(name, items)))
    _write_manifest(folder)
    return folder


def _factors(users: int, items: int, random: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    # Items in clusters and biases that differ, as learned factors have: what an approximate index would meet.
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
    # Steps of at least one, and so short that the last is still in the catalogue: sorted, and nothing twice.
    steps = random.integers(1, np.repeat(items // counts, counts) + 1)
    walked = np.cumsum(steps)
    columns = walked - np.repeat(walked[starts[:-1]], counts) + np.repeat(random.integers(0, items // counts), counts)
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
        "description": "Random factors: for measuring speed, not for recommending.",
    }


def _write_manifest(folder: Path) -> None:
    listed = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / "manifest.json").write_text(json.dumps({"files": listed}))
