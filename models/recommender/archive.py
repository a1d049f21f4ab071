"""The files of a recommender artifact: a JSON description, and one .npy file per array, memory-mapped when read.

recommender.json                 format, default algorithm, hyperparameters, encoders
users/*.npy items/*.npy titles/*.npy
interactions/*.npy               interactions and features
models/NAME/*.npy, *.txt         parameters of each algorithm
models/NAME/items.faiss          approximate index of its items, for a large catalogue
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactInvalid, InvalidInput, text_of
from models.recommender.algorithms.ann_index import ApproximateIndex, SearchSettings
from models.recommender.algorithms.base import Arrays
from models.recommender.algorithms.factors import Factors
from models.recommender.dataset.dataset import Dataset, csr
from models.recommender.dataset.encoding import Encoder
from models.recommender.dataset.ids import IdIndex, StringArray
from models.recommender.dataset.temporal_features import TemporalFeatures
from models.recommender.registry import ALGORITHMS, AnyAlgorithm

log = logging.getLogger("makunouchi.recommender")

DESCRIPTION_FILE = "recommender.json"
INDEX_FILE = "items.faiss"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a recommender artifact. `titles` has one text per item."""

    users: IdIndex
    items: IdIndex
    titles: StringArray
    dataset: Dataset
    algorithms: Mapping[str, AnyAlgorithm]
    default: str
    user_encoder: Encoder = Encoder(())  # noqa: RUF009  (frozen, so shared safely)
    item_encoder: Encoder = Encoder(())  # noqa: RUF009


def write(contents: Contents, folder: Path) -> None:
    """Write `contents` into `folder`."""
    description = {
        "format": _FORMAT,
        "default": contents.default,
        "algorithms": {name: dataclasses.asdict(each.params) for name, each in contents.algorithms.items()},
        "indexes": {
            name: dataclasses.asdict(each.index_.settings)
            for name, each in contents.algorithms.items()
            if isinstance(each, Factors) and each.index_ is not None
        },
        "user_encoder": contents.user_encoder.to_json(),
        "item_encoder": contents.item_encoder.to_json(),
    }
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=2))
    _write_arrays(contents.users.arrays(), folder / "users")
    _write_arrays(contents.items.arrays(), folder / "items")
    _write_arrays(contents.titles.arrays(), folder / "titles")
    _write_arrays(_dataset_arrays(contents.dataset), folder / "interactions")
    for name, algorithm in contents.algorithms.items():
        _write_arrays(algorithm.arrays(), folder / "models" / name)
        for part, text in algorithm.texts().items():
            (folder / "models" / name / f"{part}.txt").write_text(text)
        if isinstance(algorithm, Factors) and algorithm.index_ is not None:
            algorithm.index_.save(folder / "models" / name / INDEX_FILE)


def read(folder: Path) -> Contents:
    """Open the files of `write`, memory-mapped. Raise ArtifactInvalid when a file is missing or malformed."""
    try:
        return _read(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidInput) as error:
        raise ArtifactInvalid(
            f"artifact '{folder.parent.name}:{folder.name}' is not a readable recommender: {text_of(error)}"
        ) from error


def _read(folder: Path) -> Contents:
    description: dict[str, Any] = json.loads((folder / DESCRIPTION_FILE).read_bytes())  # Any: JSON
    if description["format"] != _FORMAT:
        raise ValueError(f"format {description['format']} is not supported, only {_FORMAT}; train the model again")
    users, items = (IdIndex.restore(_read_arrays(folder / name)) for name in ("users", "items"))
    dataset = _dataset(_read_arrays(folder / "interactions"), (len(users), len(items)))
    algorithms = {
        name: ALGORITHMS.create(name, params).restore(
            _read_arrays(folder / "models" / name), dataset, _read_texts(folder / "models" / name)
        )
        for name, params in description["algorithms"].items()
    }
    for name, settings in description.get("indexes", {}).items():
        _open_index(algorithms[name], folder / "models" / name / INDEX_FILE, SearchSettings(**settings))
    if description["default"] not in algorithms:
        raise ValueError(f"the default algorithm '{description['default']}' is missing")
    return Contents(
        users=users,
        items=items,
        titles=StringArray.restore(_read_arrays(folder / "titles")),
        dataset=dataset,
        algorithms=algorithms,
        default=description["default"],
        user_encoder=Encoder.from_json(description["user_encoder"]),
        item_encoder=Encoder.from_json(description["item_encoder"]),
    )


def _open_index(algorithm: AnyAlgorithm, path: Path, settings: SearchSettings) -> None:
    if not isinstance(algorithm, Factors):
        raise ValueError(f"'{algorithm.name}' has an index, but is not a factor model")
    try:
        algorithm.index_ = ApproximateIndex.open(path, settings)
    except ImportError:
        log.warning("model %s uses exact search: its index needs faiss, `pip install '.[scale]'`", algorithm.name)
        return
    if len(algorithm.index_) != len(algorithm.item_factors_):
        expected = len(algorithm.item_factors_)
        raise ValueError(f"the index of '{algorithm.name}' has {len(algorithm.index_)} items, expected {expected}")


def _dataset_arrays(dataset: Dataset) -> dict[str, NDArray[np.generic]]:
    arrays = {f"seen_{part}": getattr(dataset.interactions, part) for part in ("data", "indices", "indptr")}
    optional = {"times": dataset.times, "ratings": dataset.ratings}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    for owner in ("user_features", "item_features"):
        matrix = getattr(dataset, owner)
        if matrix is not None:
            arrays |= {f"{owner}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
            arrays[f"{owner}_width"] = np.array([matrix.shape[1]])
    for name in ("dated_users", "dated_items"):
        dated: TemporalFeatures | None = getattr(dataset, name)
        if dated is not None:
            arrays |= {f"{name}_{part}": array for part, array in dated.arrays().items()}
    return arrays


def _dataset(arrays: Arrays, shape: tuple[int, int]) -> Dataset:
    def features(owner: str, rows: int) -> Any:  # Any: scipy has no types
        if f"{owner}_width" not in arrays:
            return None
        data, indices, indptr = (arrays[f"{owner}_{part}"] for part in ("data", "indices", "indptr"))
        return csr(data, indices, indptr, (rows, int(arrays[f"{owner}_width"].item())))

    def dated(name: str) -> TemporalFeatures | None:
        parts = {key.removeprefix(f"{name}_"): array for key, array in arrays.items() if key.startswith(f"{name}_")}
        return TemporalFeatures.restore(parts) if parts else None

    return Dataset(
        interactions=csr(arrays["seen_data"], arrays["seen_indices"], arrays["seen_indptr"], shape),
        times=arrays["times"].astype(np.int64, copy=False) if "times" in arrays else None,
        ratings=arrays["ratings"].astype(np.float32, copy=False) if "ratings" in arrays else None,
        user_features=features("user_features", shape[0]),
        item_features=features("item_features", shape[1]),
        dated_users=dated("dated_users"),
        dated_items=dated("dated_items"),
    )


def _write_arrays(arrays: Arrays, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)


def _read_texts(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.txt"))}


def _read_arrays(folder: Path) -> dict[str, NDArray[np.generic]]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder '{folder.name}'")
    # A plain view of each memmap: slices of the subclass take microseconds longer.
    return {
        path.stem: np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)) for path in sorted(folder.glob("*.npy"))
    }
