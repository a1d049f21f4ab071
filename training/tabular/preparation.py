"""Preparation of encoded rows for a linear model or for boosting, as scikit-learn transformers.

The rows are those of `models.tabular.row_encoder`. `onnx_graph` writes each transformer as nodes of a graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder

from models.card import Column
from models.tabular.row_encoder import MISSING, NONE_OF_THESE, RowEncoder
from training.tabular.text_vectors import TextVectors

# Categories of columns with more of them are replaced with statistics of the target, in linear models.
MAX_ONE_HOT = 100
_TARGET_FOLDS = 5

NUMBERS, ONE_HOT, CODES, TARGET_MEANS, TEXT = "numbers", "one-hot", "codes", "target-means", "text"


def prepare(columns: Sequence[Column], *, is_linear: bool, seed: int) -> ColumnTransformer:
    """Return an unfitted transformer of the encoded rows of `columns`.

    For a linear model: fill and scale numbers, encode categories one-hot ("none of these" is all zeros) or, where there
    are many, as means of the target that are fitted across folds. Boosting takes numbers and codes of categories as
    they are, with NaN for what is missing or unknown.
    """
    parts = RowEncoder.for_columns(columns).parts
    is_many = [len(column.categories) > MAX_ONE_HOT for column in columns]
    categories = [place for place, column in enumerate(columns) if column.kind == "category"]
    few = [place for place in categories if not is_many[place]]
    many = [place for place in categories if is_many[place]]
    start = [part.start for part in parts]
    numbers = _positions(
        [part for part, column in zip(parts, columns, strict=True) if column.kind not in ("category", "text")]
    )
    texts = [
        (f"{TEXT}-{place}", TextVectors(seed=seed), _positions([parts[place]]))
        for place, column in enumerate(columns)
        if column.kind == "text"
    ]
    if not is_linear:
        codes = FunctionTransformer(known_codes)
        steps = [(NUMBERS, "passthrough", numbers), (CODES, codes, [start[place] for place in categories]), *texts]
        return ColumnTransformer([each for each in steps if each[2]])
    known = [
        np.arange(MISSING if columns[place].nullable else 0, len(columns[place].categories), dtype=np.float64)
        for place in few
    ]
    # `keep_empty_features`: a column without a value in one fold keeps its place.
    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    filled = Pipeline([("fill", fill), ("scale", StandardScaler())])
    one_hot = OneHotEncoder(categories=known, handle_unknown="ignore", sparse_output=False)
    folds = KFold(_TARGET_FOLDS, shuffle=True, random_state=seed)
    means = Pipeline([("means", TargetEncoder(cv=folds)), ("scale", StandardScaler())])
    steps = [
        (NUMBERS, filled, numbers),
        (ONE_HOT, one_hot, [start[place] for place in few]),
        (TARGET_MEANS, means, [start[place] for place in many]),
        *texts,
    ]
    return ColumnTransformer([each for each in steps if each[2]])


def category_positions(prepare: ColumnTransformer) -> tuple[int, ...]:
    """Return the positions of the category codes among the prepared columns of an unfitted or fitted transformer."""
    position = 0
    for name, _, columns in prepare.transformers:
        if name == CODES:
            return tuple(range(position, position + len(columns)))
        position += len(columns)
    return ()


def known_codes(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return codes of categories with NaN for MISSING and NONE_OF_THESE."""
    return np.where((codes == MISSING) | (codes == NONE_OF_THESE), np.nan, codes)


def _positions(parts: Sequence[slice]) -> list[int]:
    return [position for part in parts for position in range(part.start, part.stop)]
