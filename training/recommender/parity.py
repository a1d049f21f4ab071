"""How far what is served agrees with what it came from: arrays with LightFM, a graph with LightGBM's trees."""

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
    """Compare served scores for up to 200 users with those of the libraries that learned; None without such a model.

    LightFM: scores of all items. lightfm returns a bias per user too, which moves all items of a user alike and is left
    out of serving: it is added here. LightGBM: the ranker's scores of all candidates. Differences are relative to the
    largest score, as float32 sums differ with their size. Raises ParityNotMet.
    """
    learned: dict[int, AnyAlgorithm] = {}
    for each in algorithms:
        inside = each.retrievers_.values() if isinstance(each, TwoStage) else ()
        learned |= {id(one): one for one in (each, *inside)}
    factors = [_difference(each) for each in learned.values() if isinstance(each, LightFMWarp)]
    trees = [_ranker_difference(each) for each in learned.values() if isinstance(each, TwoStage) and each.texts()]
    found = {("lightfm-next", "numpy"): factors, ("lightgbm", "onnxruntime"): trees}
    compared = [one for each in found.values() for one in each]
    if not compared:
        return None
    rows, difference = sum(rows for rows, _ in compared), max(difference for _, difference in compared)
    libraries = [library for (library, _), each in found.items() if each]
    if not difference <= tolerance:
        raise ParityNotMet(
            f"served scores differ from those of {' and '.join(libraries)} by {difference:.2e} of the largest, allowed "
            f"is {tolerance:g}: not saved; this is a fault of the program or of an installed library"
        )
    return Parity(
        reference=" and ".join(f"{name} {library_versions(name)[name]}" for name in libraries),
        runtime=" and ".join(runtime for (_, runtime), each in found.items() if each),
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


def _difference(algorithm: LightFMWarp) -> tuple[int, float]:
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
