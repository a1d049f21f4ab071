from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from models.errors import InvalidInput
from models.recommender.archive import Contents
from models.recommender.dataset.encoding import Attribute, Encoder
from models.recommender.dataset.ids import IdIndex, StringArray
from models.recommender.online.predictor import Query, Recommender
from models.store.artifacts import Artifact
from tests.models.recommender import film_library
from tests.models.recommender.checkerboard import ITEMS, USERS, checkerboard, make


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    """Return a recommender on the checkerboard; users have the colour of their items as a feature."""
    colours = sparse.csr_array(np.eye(2, dtype=np.float32)[np.arange(USERS) % 2])
    board = checkerboard(user_features=colours)
    contents = Contents(
        users=IdIndex.of([f"u{row}" for row in range(USERS)]),
        items=IdIndex.of([str(row) for row in range(ITEMS)]),
        titles=StringArray.of([""] * ITEMS),
        dataset=board,
        algorithms={"lightfm-warp": make("lightfm-warp").fit(board)},
        default="lightfm-warp",
        user_encoder=Encoder((Attribute("colour", "category", values=("even", "odd")),)),
    )
    card = film_library.artifact().card
    return Recommender(Artifact("board", "v1", Path("nowhere"), card), contents)


def test_a_feature_that_lowers_the_score_is_not_a_cause(recommender: Recommender) -> None:
    query = Query("new", n=ITEMS, user_features={"colour": "even"}, explain=True)
    items = recommender.recommend([query])[0].items
    assert len(items) == ITEMS
    for item in items:
        causes = [cause.name for cause in item.causes]
        assert causes == (["colour=even"] if int(item.id) % 2 == 0 else [])
        assert all(cause.weight > 0 for cause in item.causes)


def test_an_input_error_of_an_algorithm_makes_the_query_invalid(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise InvalidInput("cannot")

    monkeypatch.setattr(recommender.contents.algorithms["lightfm-warp"], "explain", refuse)
    refused, plain = recommender.recommend([Query("u1", n=1, explain=True), Query("u1", n=1)])
    assert (refused.error, refused.error_kind, refused.location) == ("cannot", "invalid", ("model",))
    assert plain.error is None
