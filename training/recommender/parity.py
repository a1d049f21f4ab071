"""Compare served scores with those of the libraries that learned: arrays with LightFM, ONNX graphs with LightGBM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.card import Parity
from models.errors import ParityNotMet
from models.recommender.algorithms.lightfm_factors import LightFMWarp
from models.recommender.ranking.two_stage import TwoStage
from models.recommender.registry import AnyAlgorithm
from training.report import library_versions

TOLERANCE = 1e-3
_USERS = 200


def serving_parity(algorithms: Sequence[AnyAlgorithm], *, tolerance: float = TOLERANCE) -> Parity | None:
    """Compare served scores for up to 200 users with those of the libraries. Return None without such a model.

    LightFM: scores of all items. lightfm also returns a bias per user, which shifts all items of a user equally and is
    not served, so it is added here. LightGBM: the ranker's scores of all candidates. Differences are relative to the
    largest score, because the error of float32 sums grows with their size. Raises ParityNotMet.
    """
    models: dict[int, AnyAlgorithm] = {}
    for algorithm in algorithms:
        retrievers = algorithm.retrievers_.values() if isinstance(algorithm, TwoStage) else ()
        models |= {id(model): model for model in (algorithm, *retrievers)}
    factors = [_factor_difference(model) for model in models.values() if isinstance(model, LightFMWarp)]
    trees = [_ranker_difference(model) for model in models.values() if isinstance(model, TwoStage) and model.texts()]
    by_library = {("lightfm-next", "numpy"): factors, ("lightgbm", "onnxruntime"): trees}
    compared = [difference for differences in by_library.values() for difference in differences]
    if not compared:
        return None
    rows, difference = sum(rows for rows, _ in compared), max(difference for _, difference in compared)
    libraries = [library for (library, _), differences in by_library.items() if differences]
    if not difference <= tolerance:
        raise ParityNotMet(
            f"served scores differ from those of {' and '.join(libraries)} by {difference:.2e} of the largest, "
            f"allowed is {tolerance:g}: not saved; this is a fault of the program or of an installed library"
        )
    return Parity(
        reference=" and ".join(f"{name} {library_versions(name)[name]}" for name in libraries),
        runtime=" and ".join(runtime for (_, runtime), differences in by_library.items() if differences),
        rows=rows,
        max_difference=difference,
    )


def _ranker_difference(algorithm: TwoStage) -> tuple[int, float]:
    import lightgbm

    users = np.linspace(0, algorithm.dataset_.users - 1, min(_USERS, algorithm.dataset_.users)).astype(np.int64)
    features = algorithm.candidate_features(users)
    (text,) = algorithm.texts().values()
    expected = np.asarray(lightgbm.Booster(model_str=text).predict(features, num_threads=1))
    served = algorithm.ranked(features)
    largest = max(1.0, float(np.abs(expected).max()))
    return len(features), float(np.abs(served - expected).max()) / largest


def _factor_difference(algorithm: LightFMWarp) -> tuple[int, float]:
    model, user_features, item_features = algorithm.reference_
    dataset = algorithm.dataset_
    users = np.linspace(0, dataset.users - 1, min(_USERS, dataset.users)).astype(np.int32)
    rows = np.repeat(users, dataset.items)
    columns = np.tile(np.arange(dataset.items, dtype=np.int32), len(users))
    expected = model.predict(rows, columns, user_features=user_features, item_features=item_features)
    biases, _ = model.get_user_representations(user_features)
    served = algorithm.score(users.astype(np.int64)) + biases[users][:, None]
    largest = max(1.0, float(np.abs(expected).max()))
    return len(rows), float(np.abs(served.ravel() - expected).max()) / largest
