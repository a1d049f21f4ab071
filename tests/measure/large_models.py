"""Artifacts of about 100 MB, one for each runtime: `BENTOML_HOME=... python -m tests.measure.large_models [NAME ...]`

Their weights are random, or fitted to random data: what they answer has no meaning, and what they need has. Nothing is
downloaded.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.artifacts import model_store, synthetic_catalogue

_COLUMNS: Final = 30
_WEIGHTS_FILE: Final = "weights.npy"
_SEED: Final = 3


class LargeClass:
    """A class of a user, with 100 MB of weights that it reads into memory."""

    example = (0.5,) * _COLUMNS

    def load(self, folder: Path) -> None:
        """Read the weights."""
        self._weights = np.load(folder / _WEIGHTS_FILE)

    def predict(self, rows: list[tuple[float, ...]]) -> list[float]:
        """Return one number per row."""
        answers: list[float] = (np.array(rows, np.float32) @ self._weights).mean(axis=1).tolist()
        return answers


def _image(store: Path) -> None:
    from training.image.params import Params
    from training.image.train import train

    train(Params(arch="resnet50", weights="none", precision="f32", name="large-image"), store=store)


def _forest(store: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    from training import save

    random = np.random.default_rng(_SEED)
    rows, classes = random.normal(size=(12_000, _COLUMNS)), random.integers(0, 3, 12_000)
    forest = RandomForestClassifier(380, n_jobs=-1, random_state=_SEED).fit(rows, classes)
    save(forest, rows[:500], classes[:500], name="large-forest", store=store)


def _network(store: Path) -> None:
    import torch

    from training import save

    torch.manual_seed(_SEED)
    module = torch.nn.Sequential(
        torch.nn.Linear(_COLUMNS, 5_000), torch.nn.ReLU(), torch.nn.Linear(5_000, 5_000), torch.nn.Linear(5_000, 2)
    )
    rows = np.random.default_rng(_SEED).normal(size=(200, _COLUMNS)).astype(np.float32)
    save(module, rows, name="large-network", classes=["a", "b"], store=store)


def _recommender(store: Path) -> None:
    artifact = synthetic_catalogue(130_000)
    folder = store / artifact.parent.name
    folder.mkdir(parents=True)
    (folder / artifact.name).symlink_to(artifact)
    (folder / "latest").write_text(artifact.name)


def _text(store: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    from training import save

    random = np.random.default_rng(_SEED)
    words = [f"w{number:x}" for number in random.permutation(1_000_000)]
    texts = [" ".join(words[start : start + 500]) for start in range(0, len(words), 500)]
    classes = [f"class {number % 10}" for number in range(len(texts))]
    model = make_pipeline(TfidfVectorizer(), MultinomialNB()).fit(texts, classes)
    save(model, texts[:200], classes[:200], name="large-text", store=store)


def _python(store: Path) -> None:
    from training.python.params import Params
    from training.python.save import save

    with tempfile.TemporaryDirectory() as folder:
        weights = np.random.default_rng(_SEED).normal(size=(_COLUMNS, 833_333)).astype(np.float32)
        np.save(Path(folder) / _WEIGHTS_FILE, weights)
        reference = f"tests.measure.large_models:{LargeClass.__name__}"
        save(Params(class_=reference, weights=Path(folder), name="large-class"), store=store)


MAKERS: Final[Mapping[str, Callable[[Path], None]]] = {
    "catalogue-130000": _recommender,
    "large-image": _image,
    "large-forest": _forest,
    "large-network": _network,
    "large-text": _text,
    "large-class": _python,
}


def make(names: list[str], store: Path) -> None:
    """Make the artifacts that are not in the store yet."""
    for name in names:
        if not (store / name).is_dir():
            MAKERS[name](store)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(MAKERS)}; all when empty")
    make(parser.parse_args().names or list(MAKERS), model_store())
