"""How far the arrays that are served agree with the LightFM model that they came from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.card import Parity
from models.errors import ParityNotMet
from models.recommender.lightfm_factors import LightFMWarp
from models.recommender.registry import AnyAlgorithm
from training.report import library_versions

TOLERANCE = 1e-3
_USERS = 200


def serving_parity(algorithms: Sequence[AnyAlgorithm], *, tolerance: float = TOLERANCE) -> Parity | None:
    """Compare scores of all items for up to 200 users with `lightfm.predict`; None without a LightFM model.

    lightfm returns a bias per user too, which moves all items of a user alike and is left out of serving: it is added
    here. Differences are relative to the largest score, as float32 sums differ with their size. Raises ParityNotMet.
    """
    compared = [_difference(each) for each in algorithms if isinstance(each, LightFMWarp)]
    if not compared:
        return None
    rows, difference = sum(rows for rows, _ in compared), max(difference for _, difference in compared)
    if not difference <= tolerance:
        raise ParityNotMet(
            f"served scores differ from lightfm's by {difference:.2e} of the largest, allowed is {tolerance:g}: not "
            "saved; this is a fault of the program or of the installed lightfm"
        )
    version = library_versions("lightfm-next")["lightfm-next"]
    return Parity(reference=f"lightfm-next {version}", runtime="numpy", rows=rows, max_difference=difference)


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
