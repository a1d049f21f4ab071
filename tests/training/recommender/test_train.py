"""Tests of recommender training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.errors import ArtifactInvalid, DataInvalid, GateNotMet, ParityNotMet
from models.recommender.online.predictor import Query, Recommender
from models.store.artifacts import find, versions
from tests.models.recommender.checkerboard import ITEMS, USERS, checkerboard, make
from training.recommender.params import Params
from training.recommender.parity import serving_parity
from training.recommender.splits import split
from training.recommender.train import main


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Write the checkerboard as three files, with a time per event."""
    board = checkerboard().interactions.tocoo()
    events = [f"u{u},{i:03d},{t}" for t, (u, i) in enumerate(zip(board.row, board.col, strict=True))]
    texts = {
        "interactions": "user_id,item_id,time\n" + "\n".join(events),
        "users": "user_id,colour\n" + "\n".join(f"u{u},{'white' if u % 2 else 'black'}" for u in range(USERS + 1)),
        "items": "item_id,title,colour\n" + "\n".join(f"{i:03d},Item {i},{i % 2}" for i in range(ITEMS)),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return {name: tmp_path / f"{name}.csv" for name in texts}


def params(files: dict[str, Path], **changes: object) -> Params:
    given: dict[str, object] = {
        "time_column": "time",
        "title_column": "title",
        "algorithms": ("lightfm-warp", "ease", "item-knn"),
        "epochs": 30,
        "factors": 8,
        "learning_rate": 0.05,
        "name": "board",
    }
    return Params(**{**files, **given, **changes})  # type: ignore[arg-type]


@pytest.mark.slow
def test_files_become_an_artifact_that_answers(store: Path, files: dict[str, Path]) -> None:
    artifact = main(params(files))
    recommender = Recommender.load(find("board", store=store))
    known, featured, unknown = recommender.recommend(
        [Query("u3", n=3), Query(f"u{USERS}", n=3), Query("nobody", n=3, model="item-knn")]
    )
    assert int(known.items[0].id) % 2 == 1
    assert known.items[0].title == f"Item {int(known.items[0].id)}"
    assert (featured.model, featured.reason) == ("lightfm-warp", "user_features")
    assert (unknown.model, unknown.reason) == ("popular", "unknown_user")
    assert (artifact.folder / "report.md").read_text().startswith("# board")


def test_the_card_describes_the_model(store: Path, files: dict[str, Path]) -> None:
    card = main(params(files, evaluate_latest=True)).card
    assert (card.task, card.algorithm, card.data.rows) == (
        "recommendation",
        "lightfm-warp",
        checkerboard().interactions.nnz,
    )
    assert set(card.metrics) == {"p@10", "r@10", "ndcg@10", "map@10", "coverage", "novelty", "diversity"}
    for how in ("random", "last"):
        for model in ("lightfm-warp", "ease", "item-knn", "popular"):
            assert "ndcg@10" in card.slices[f"split={how}, model={model}"]
    assert {"users=new", "items=head", "items=tail"} <= set(card.slices)
    assert [column.name for column in card.inputs] == ["user_id", "n", "filter_seen", "model"]
    assert [column.name for column in card.outputs] == ["item_id", "title", "score"]
    popularity = checkerboard().popularity()
    assert popularity[int(str(card.outputs[0].example))] == popularity.max()
    assert card.parity is not None
    assert card.parity.max_difference < 1e-4
    assert card.profile is not None
    assert set(card.profile.numeric) == {"user_activity", "item_popularity"}
    assert card.params["lightfm-warp.epochs"] == 30


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model(store: Path, files: dict[str, Path]) -> None:
    first, second = (Recommender.load(main(params(files))) for _ in range(2))
    queries = [Query(f"u{user}", n=5) for user in range(USERS)]
    assert first.recommend(queries) == second.recommend(queries)


def test_each_algorithm_can_have_an_artifact_of_its_own(store: Path, files: dict[str, Path]) -> None:
    first = main(params(files, one_each=True))
    assert first.tag.startswith("board-lightfm-warp:")
    assert versions("board", store=store) == []
    for name in ("lightfm-warp", "ease", "item-knn"):
        artifact = find(f"board-{name}", store=store)
        assert Recommender.load(artifact).models == (name,)
        assert artifact.card.metrics == artifact.card.slices[f"split=random, model={name}"]
        assert all(
            f"split=random, model={other}" in artifact.card.slices for other in ("lightfm-warp", "ease", "item-knn")
        )
        assert (artifact.card.parity is not None) == (name == "lightfm-warp")


def test_the_default_evaluation_is_on_the_random_split_alone(store: Path, files: dict[str, Path]) -> None:
    card = main(params(files, algorithms=("popular",))).card
    assert "split=random, model=popular" in card.slices
    assert not any(name.startswith("split=last") for name in card.slices)
    assert card.parity is None


def test_the_latest_part_needs_times(store: Path, files: dict[str, Path]) -> None:
    with pytest.raises(DataInvalid, match="the split 'last' needs a column of times"):
        main(params(files, time_column="", algorithms=("popular",), evaluate_latest=True))
    assert versions("board", store=store) == []


def test_a_model_below_the_gate_is_not_saved(store: Path, files: dict[str, Path]) -> None:
    with pytest.raises(GateNotMet, match=r"popular reaches ndcg@10 0\.\d+, the gate is 0.999"):
        main(params(files, algorithms=("popular",), min_metric=0.999))
    assert versions("board", store=store) == []


def test_an_interrupt_while_fitting_saves_nothing(
    store: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("models.recommender.archive.write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(params(files, algorithms=("popular",)))
    assert versions("board", store=store) == []


def test_hyperparameters_can_be_set(store: Path, files: dict[str, Path]) -> None:
    chosen = ("ease.l2=2.5", "item-knn.weighting=bm25")
    card = main(params(files, algorithms=("ease", "item-knn"), set=chosen)).card
    assert (card.params["ease.l2"], card.params["item-knn.weighting"]) == (2.5, "bm25")


def test_two_levels_are_trained_by_their_retrievers(store: Path, files: dict[str, Path]) -> None:
    chosen = ("two-level.retrievers=ease+user-knn", "two-level.candidates=10")
    artifact = main(params(files, algorithms=("two-level",), set=chosen))
    assert artifact.card.params["two-level.retrievers"] == "ease+user-knn"
    answer = Recommender.load(artifact).recommend([Query("u3", n=1)])[0]
    assert (answer.model, int(answer.items[0].id) % 2) == ("two-level", 1)


def test_attributes_that_change_are_learned_as_they_were_and_served_as_they_are(
    store: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row for u in range(USERS) for row in (f"u{u},0,{['black', 'white'][u % 2]}", f"u{u},1000000000,red")]
    files["users"].write_text("user_id,time,colour\n" + "\n".join(rows) + f"\nu{USERS},0,white\n")
    main(params(files, algorithms=("two-level", "lightfm-warp"), set=("two-level.retrievers=lightfm-warp",)))
    assert f"{USERS + 1} of {USERS + 1} users had attributes" in capsys.readouterr().err

    recommender = Recommender.load(find("board", store=store))
    contents, state = recommender.contents, recommender.state
    assert contents.user_encoder.names == ("colour=black", "colour=white")
    assert contents.dataset.is_dated
    assert contents.dataset.user_features is not None
    assert contents.dataset.user_features.toarray()[:2].tolist() == [[1, 0], [0, 1]]
    assert state.features.users.values("u0") == {"colour": "red"}
    # No user was red in the training data, so that red changes nothing; white still does.
    assert state.known_features("u0", 0) is None
    (featured,) = recommender.recommend([Query(f"u{USERS}", n=3)])
    assert featured.reason == "user_features"
    assert all(int(each.id) % 2 == 1 for each in featured.items)


def test_content_needs_attributes(store: Path, files: dict[str, Path]) -> None:
    with pytest.raises(DataInvalid, match="content needs attributes of items"):
        main(params(files, items=None, title_column="", algorithms=("content",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithms": ("magic",)}, "no algorithm 'magic'; known: popular"),
        ({"algorithms": ()}, "no algorithm given; known: popular"),
        ({"set": ("ease.l3=1",)}, "'ease' has no parameter 'l3'; known: l2"),
        ({"set": ("als.factors=1",)}, "'als' is not among --algorithms"),
        ({"interactions": None}, "--users and --items go with --interactions"),
        ({"time_column": "when"}, "has no column 'when'; it has: user_id, item_id, time"),
        ({"title_column": "label"}, "has no column 'label'"),
        ({"user_attributes": ("height",)}, "has no column 'height'"),
        ({"interactions": Path("none.csv")}, "no file 'none.csv'"),
        ({"name": "My model"}, "'My model' is not a valid artifact name"),
        ({"epochs": 0}, "--epochs is 0; it must be at least 1"),
        ({"max_sampled": -3}, "--max-sampled is -3; it must be at least 1"),
        ({"learning_rate": 0.0}, "--learning-rate is 0; it must be above 0"),
        ({"test_share": 2.0}, "--test-share 2 is not between 0 and 1"),
    ],
)
def test_wrong_options_say_what_is_wrong(
    store: Path, files: dict[str, Path], changes: dict[str, object], message: str
) -> None:
    with pytest.raises((DataInvalid, ArtifactInvalid), match=message):
        main(params(files, **changes))


def test_too_little_data_says_so(store: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("user_id,item_id\n1,1\n1,2\n1,3\n")
    with pytest.raises(DataInvalid, match="1 users and 3 items: at least 2 of each"):
        main(Params(interactions=tmp_path / "one.csv"))


def test_serving_that_disagrees_with_lightfm_is_refused() -> None:
    fitted = make("lightfm-warp").fit(checkerboard())
    agreed = serving_parity([fitted])
    assert agreed is not None
    assert agreed.rows == USERS * ITEMS
    fitted.item_factors_ = fitted.item_factors_ + np.float32(0.05)  # type: ignore[attr-defined]
    with pytest.raises(ParityNotMet, match="served scores differ"):
        serving_parity([fitted])


def test_movielens_is_learned_better_than_popularity(recommender_store: Path) -> None:
    artifact = find("recommender", store=recommender_store)
    table = artifact.card.slices
    popular = table["split=random, model=popular"]["ndcg@10"]
    assert 0.24 < popular < 0.26
    assert table["split=random, model=ease"]["ndcg@10"] > 0.47
    assert artifact.card.metrics["ndcg@10"] > 1.4 * popular
    answer = Recommender.load(artifact).recommend([Query("196")])[0]
    assert len(answer.items) == 10
    assert all(item.title for item in answer.items)


def test_what_is_held_out_is_not_in_what_is_saved(store: Path, files: dict[str, Path]) -> None:
    artifact = main(params(files, holdout=True, algorithms=("ease",), seed=3))
    whole = main(params(files, algorithms=("ease",), name="whole"))
    held_out, all_of_it = (Recommender.load(each).contents.dataset for each in (artifact, whole))
    expected, test = split(all_of_it, "random", test_share=0.25, seed=3)
    assert (held_out.interactions != expected.interactions).nnz == 0
    assert test.interactions.nnz > 0
    assert artifact.card.params["holdout"] is True
    assert "it has not learned from that part" in artifact.card.description
    assert whole.card.params["holdout"] is False


def test_feedback_cannot_be_held_out(store: Path, files: dict[str, Path]) -> None:
    with pytest.raises(DataInvalid, match="--holdout goes without --feedback"):
        main(params(files, holdout=True, feedback="sqlite://"))
