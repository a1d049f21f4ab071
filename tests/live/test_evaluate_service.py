"""Tests of `training.evaluate_service`: metrics measured through the API equal the offline metrics."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from models.errors import DataInvalid
from tests.fixtures_default import own_home
from tests.fixtures_recommender import trained_recommender
from tests.live.server import Server, serving
from training.recommender.evaluate_service import Params, main

pytestmark = pytest.mark.live

_TRAIN = (
    "--holdout",
    "--seed",
    "5",
    "--name",
    "held-out",
    "--algorithms",
    "ease,lightfm-warp,popular",
    "--epochs",
    "3",
)


@pytest.fixture(scope="module")
def held_out(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BENTOML_HOME with the default models and a recommender trained without the test set."""
    home = own_home(default_home, tmp_path_factory)
    shutil.copytree(trained_recommender("held-out", *_TRAIN), home / "models", dirs_exist_ok=True)
    return home


def test_metrics_of_the_service_equal_those_of_its_card(held_out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = {"BENTOML_HOME": str(held_out), "MAKUNOUCHI_RECOMMENDER_MODEL": "held-out"}
    with serving("service:Gateway", env=env) as server:
        results = main(Params(url=server.url, json=True))
        card = server.get("/v1/models/held-out").json()
        # User ids may contain slashes.
        response = server.get("/v1/users/a%2Fb/recommendations").json()
    assert response["user_id"] == "a/b"
    assert set(results) == {"ease", "lightfm-warp", "popular"}
    assert card["params"]["holdout"] is True
    for name, metrics in results.items():
        offline = card["slices"][f"split=random, model={name}"]
        for key in ("ndcg@10", "p@10", "r@10", "map@10"):
            assert metrics[key] == pytest.approx(offline[key], abs=0.0005)
    assert 0.45 < results["ease"]["ndcg@10"] < 0.51
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ease"]["ndcg@10"] == round(
        results["ease"]["ndcg@10"], 5
    )


def test_a_model_trained_on_the_test_set_is_refused(service: Server) -> None:
    with pytest.raises(DataInvalid, match="has learned from the test part too"):
        main(Params(url=service.url))


def test_an_unreachable_address_is_an_error() -> None:
    with pytest.raises(DataInvalid, match="no answer from"):
        main(Params(url="http://127.0.0.1:9"))
    with pytest.raises(DataInvalid, match="is no address of a service"):
        main(Params(url="file:///etc/passwd"))
