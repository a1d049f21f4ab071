"""The files of a text classifier: the n-grams as JSON, the numbers as safetensors. Reading them runs no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from models.errors import ArtifactInvalid, text_of
from models.text.ngrams import NgramRange

VOCABULARY_FILE = "vocabulary.json"
WEIGHTS_FILE = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class TermGroup:
    """The n-grams of one range that have columns, in the order of the columns."""

    ngrams: NgramRange
    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All n-grams that have columns, group after group, and how a text becomes their values.

    A text is put in lower case with `lowercase`, and loses its accents with `strip_accents`. Words in `stop_words` are
    left out before the n-grams of words are made. The count of an n-gram is 1 at most with `binary`, and becomes
    1 + its logarithm with `sublinear`. The columns of a group are scaled to a length of 1: the root of the sum of
    squares ("l2"), the sum ("l1"), or not at all. With `one_vs_rest` each of more than two classes has a sigmoid of its
    own, scaled to a sum of 1, in place of a softmax.
    """

    groups: tuple[TermGroup, ...]
    strip_accents: bool = False
    lowercase: bool = True
    stop_words: tuple[str, ...] = ()
    binary: bool = False
    sublinear: bool = True
    norm: Literal["l1", "l2", ""] = "l2"
    one_vs_rest: bool = False

    @property
    def size(self) -> int:
        """The number of columns."""
        return sum(len(group.terms) for group in self.groups)


@dataclass(frozen=True, slots=True)
class TextWeights:
    """A linear classifier over TF-IDF columns.

    `idf` is (F,), `coefficients` (F, S), `intercept` (S,), all of them float32 or all float64. S is the number of
    classes, or 1 for two classes: the score of the second. The calibration of the probabilities is part of both.
    """

    vocabulary: Vocabulary
    idf: NDArray[np.floating]
    coefficients: NDArray[np.floating]
    intercept: NDArray[np.floating]


_VOCABULARY = TypeAdapter(Vocabulary)


def write_weights(weights: TextWeights, folder: Path) -> None:
    """Write both files into the artifact's folder."""
    # ASCII: a term may hold half of a surrogate pair, which UTF-8 has no bytes for.
    (folder / VOCABULARY_FILE).write_text(json.dumps(asdict(weights.vocabulary)), encoding="ascii")
    arrays = {"idf": weights.idf, "coefficients": weights.coefficients, "intercept": weights.intercept}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / WEIGHTS_FILE)


def read_weights(folder: Path, *, classes: int) -> TextWeights:
    """Read both files. Raises ArtifactInvalid when one is missing or malformed, or they do not fit together."""
    tag = f"{folder.parent.name}:{folder.name}"
    try:
        # The small objects that remain of this call would keep arenas of the vocabulary's strings from being freed.
        arrays = load_file(folder / WEIGHTS_FILE)
        content = json.loads((folder / VOCABULARY_FILE).read_bytes())
        vocabulary = _VOCABULARY.validate_python(content, strict=False)
    except (OSError, ValueError, ValidationError, SafetensorError) as error:
        raise ArtifactInvalid(f"the weights of artifact '{tag}' cannot be read: {text_of(error)}") from error
    if fault := _fault(vocabulary, arrays, classes):
        raise ArtifactInvalid(f"the weights of artifact '{tag}' do not fit together: {fault}")
    return TextWeights(vocabulary, arrays["idf"], arrays["coefficients"], arrays["intercept"])


def _fault(vocabulary: Vocabulary, arrays: Mapping[str, NDArray[Any]], classes: int) -> str:  # Any: checked here
    columns, scores = vocabulary.size, 1 if classes == 2 else classes
    shapes = {"idf": (columns,), "coefficients": (columns, scores), "intercept": (scores,)}
    for name, shape in shapes.items():
        array = arrays.get(name)
        if array is None:
            return f"there is no array '{name}'"
        if array.shape != shape or array.dtype not in (np.float32, np.float64) or array.dtype != arrays["idf"].dtype:
            return f"'{name}' is {array.dtype} {array.shape}, expected float32 {shape}"
        if not np.isfinite(array).all():
            return f"'{name}' holds NaN or infinity"
    for group in vocabulary.groups:
        if len(set(group.terms)) != len(group.terms):
            return f"a term occurs twice among the n-grams of unit '{group.ngrams.unit}'"
        if not 1 <= group.ngrams.shortest <= group.ngrams.longest:
            return f"n-grams of {group.ngrams.shortest} to {group.ngrams.longest} do not exist"
    return ""
