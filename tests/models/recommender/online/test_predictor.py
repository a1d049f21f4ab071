from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from models.card import Card, Column, DataSource
from models.errors import ArtifactInvalid, InvalidInput
from models.recommender import archive
from models.recommender.archive import Contents
from models.recommender.dataset.ids import IdIndex, StringArray
from models.recommender.online.predictor import Answer, Query, Recommender, ScoredItem
from models.recommender.registry import AnyAlgorithm
from models.store.artifacts import Artifact, find
from models.store.saving import saving
from tests.models.recommender.checkerboard import ITEMS, USERS, dataset, make, missed

NAMES = ("lightfm-warp", "ease", "user-knn", "popular")
FEATURELESS, FEATURED = USERS, USERS + 1


def contents() -> Contents:
    """Return the checkerboard with two users without items; the last one has the features of an even user."""
    pairs = [(u, i) for u in range(USERS) for i in range(ITEMS) if u % 2 == i % 2 and i != missed(u)]
    colours = np.vstack([np.eye(2, dtype=np.float32)[np.arange(USERS) % 2], [[0, 0], [1, 0]]]).astype(np.float32)
    board = dataset(pairs, (USERS + 2, ITEMS), user_features=sparse.csr_array(colours))
    fitted = {name: make(name).fit(board) for name in NAMES}
    users = IdIndex.of([f"u{row}" for row in range(USERS + 2)])
    items = IdIndex.of([str(100 + row) for row in range(ITEMS)])
    return Contents(
        users, items, StringArray.of([f"Item {row}" for row in range(ITEMS)]), board, fitted, "lightfm-warp"
    )


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    from datetime import UTC, datetime

    store = tmp_path_factory.mktemp("store")
    card = Card(
        name="board",
        task="recommendation",
        algorithm="lightfm-warp",
        created=datetime.now(UTC),
        inputs=(Column("user_id", "text"),),
        outputs=(),
        metrics={},
        data=DataSource("board", "0" * 64, 140),
    )
    with saving(card, store=store) as folder:
        archive.write(contents(), folder)
    return find("board", store=store)


@pytest.fixture(scope="module")
def recommender(artifact: Artifact) -> Recommender:
    return Recommender.load(artifact)


def ask(recommender: Recommender, query: Query) -> Answer:
    return recommender.recommend([query])[0]


@pytest.mark.parametrize("model", [None, "ease", "user-knn"])
def test_a_known_user_gets_the_missed_item_with_its_title(recommender: Recommender, model: str | None) -> None:
    answer = ask(recommender, Query("u3", n=2, model=model))
    assert (answer.model, answer.reason, answer.error) == (model or "lightfm-warp", None, None)
    assert (answer.items[0].id, answer.items[0].title) == (str(100 + missed(3)), f"Item {missed(3)}")
    assert len(answer.items) == 2


def test_an_unknown_user_gets_popular_items_with_a_reason(recommender: Recommender) -> None:
    answer = ask(recommender, Query("nobody", n=4))
    assert (answer.model, answer.reason) == ("popular", "unknown_user")
    popularity = recommender.contents.dataset.popularity()
    counts = [popularity[int(item.id) - 100] for item in answer.items]
    assert counts == sorted(popularity.tolist(), reverse=True)[:4]


def test_a_user_without_items_gets_popular_ones_with_a_reason(recommender: Recommender) -> None:
    answer = ask(recommender, Query(f"u{FEATURELESS}", n=4))
    assert (answer.model, answer.reason, len(answer.items)) == ("popular", "missing_features", 4)


def test_a_user_with_features_only_gets_items_by_features(recommender: Recommender) -> None:
    answer = ask(recommender, Query(f"u{FEATURED}", n=3))
    assert (answer.model, answer.reason) == ("lightfm-warp", "user_features")
    assert [int(item.id) % 2 for item in answer.items] == [0, 0, 0]
    assert ask(recommender, Query(f"u{FEATURED}", model="ease")).reason == "no_history"


@pytest.mark.parametrize("model", ["lightfm-warp", "ease", "user-knn"])
def test_a_history_in_the_request_serves_an_unknown_user(recommender: Recommender, model: str) -> None:
    query = Query("nobody", n=3, model=model, history=("101", "103", "105", "not an item"))
    answer = ask(recommender, query)
    assert (answer.model, answer.reason) == (model, "request_history")
    assert [int(item.id) % 2 for item in answer.items] == [1, 1, 1]
    assert not {item.id for item in answer.items} & set(query.history)


def test_a_history_of_unknown_items_is_ignored(recommender: Recommender) -> None:
    assert ask(recommender, Query("nobody", history=("?",))).reason == "unknown_user"


def test_a_history_is_added_to_the_items_of_a_known_user(recommender: Recommender) -> None:
    missed_item = str(100 + missed(0))
    answer = ask(recommender, Query("u0", n=ITEMS, model="ease", history=(missed_item,)))
    assert {int(item.id) % 2 for item in answer.items} == {1}


def test_seen_items_are_included_without_the_filter(recommender: Recommender) -> None:
    assert len(ask(recommender, Query("u0", n=1000)).items) == ITEMS - 7
    assert len(ask(recommender, Query("u0", n=1000, filter_seen=False)).items) == ITEMS


def test_each_query_of_a_batch_gets_its_answer_in_order(recommender: Recommender) -> None:
    queries = [
        Query("u1", n=1),
        Query("nobody", n=5),
        Query("u2", n=7, model="ease"),
        Query("u1", n=0),
        Query("u3", n=3, filter_seen=False),
        Query("u4", n=2, model="ease", history=("101",)),
        Query("u1", model="none such"),
        Query("u5", n=4),
    ]
    together = recommender.recommend(queries)
    for query, answer in zip(queries, together, strict=True):
        single = ask(recommender, query)
        assert [item.id for item in answer.items] == [item.id for item in single.items]
        np.testing.assert_allclose(
            [item.score for item in answer.items], [item.score for item in single.items], rtol=1e-5
        )
        assert (answer.model, answer.reason, answer.error) == (single.model, single.reason, single.error)


@pytest.mark.parametrize("n", [0, -1, 1.5, "3", None])
def test_an_invalid_n_fails_only_its_query(recommender: Recommender, n: object) -> None:
    good, bad = recommender.recommend([Query("u1"), Query("u1", n=n)])  # type: ignore[arg-type]
    assert good.items
    assert good.error is None
    assert bad.items == ()
    assert bad.error_kind == "invalid"
    assert "n must be a whole number of at least 1" in str(bad.error)


def test_an_unknown_model_lists_the_known_ones(recommender: Recommender) -> None:
    answer = ask(recommender, Query("u1", model="bpr"))
    assert answer.error == "no model 'bpr' is served; known: lightfm-warp, ease, user-knn, popular"


def test_a_model_that_raises_fails_only_its_queries(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = Recommender.load(artifact)
    broken = recommender.contents.algorithms["ease"]
    real = type(broken).score

    def score(self: AnyAlgorithm, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if 3 in rows:
            raise FloatingPointError("row 3")
        return real(self, rows)

    monkeypatch.setattr(type(broken), "score", score)
    answers = recommender.recommend([Query("u1", model="ease"), Query("u3", model="ease"), Query("u3")])
    assert [answer.error_kind for answer in answers] == [None, "failed", None]
    assert answers[0].items
    assert "row 3" not in str(answers[1].error)


def test_no_queries_give_no_answers(recommender: Recommender) -> None:
    assert recommender.recommend([]) == []


def test_the_example_is_for_a_known_user(recommender: Recommender) -> None:
    answer = ask(recommender, recommender.example())
    assert len(answer.items) == 1
    assert answer.reason is None


def test_queries_and_answers_are_unchanged_after_json(recommender: Recommender) -> None:
    queries = [Query("u1", n=3, filter_seen=False, model="ease", history=("1", "2")), Query("ü")]
    assert [Query.from_json(json.loads(json.dumps(each.to_json()))) for each in queries] == queries
    answers = [*recommender.recommend([Query("u1"), Query("x"), Query("u1", n=0)])]
    assert [Answer.from_json(json.loads(json.dumps(each.to_json()))) for each in answers] == answers
    assert isinstance(answers[0].items[0], ScoredItem)


@pytest.mark.parametrize("encoded", [None, [], {}, {"user_id": "1", "extra": 1}, {"user_id": "1", "history": 3}])
def test_malformed_json_is_refused(encoded: object) -> None:
    with pytest.raises(InvalidInput, match="malformed query"):
        Query.from_json(encoded)


def test_arrays_are_memory_mapped(recommender: Recommender) -> None:
    factors = recommender.contents.algorithms["lightfm-warp"].arrays()["user_factors"]
    assert not factors.flags.owndata
    assert not factors.flags.writeable


def test_serving_imports_no_training_library(artifact: Artifact) -> None:
    code = (
        "import sys; from pathlib import Path; from models.store.artifacts import read_artifact;"
        "from models.recommender.online.predictor import Recommender, Query;"
        "r = Recommender.load(read_artifact(Path(sys.argv[1])));"
        "assert all(r.recommend([Query('u1', model=m)])[0].items for m in r.models);"
        "heavy = {'lightfm', 'implicit', 'sklearn', 'lightgbm', 'pandas', 'pyarrow', 'torch'};"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(artifact.folder)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "recommender.json").unlink(),
        lambda folder: (folder / "recommender.json").write_text("{"),
        lambda folder: (folder / "recommender.json").write_text('{"format": 99}'),
        lambda folder: (folder / "models" / "ease" / "weights.npy").unlink(),
        lambda folder: (folder / "users" / "ends.npy").write_bytes(b"not an array"),
        lambda folder: np.save(folder / "titles" / "bytes.npy", np.array([{}]), allow_pickle=True),
    ],
)
def test_a_damaged_artifact_is_refused(artifact: Artifact, tmp_path: Path, damage: object) -> None:
    import shutil

    folder = tmp_path / "board" / "v1"
    shutil.copytree(artifact.folder, folder)
    damage(folder)  # type: ignore[operator]
    with pytest.raises(ArtifactInvalid, match="'board:v1' is not a readable recommender"):
        archive.read(folder)
