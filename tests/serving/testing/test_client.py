"""Tests of the fixture with which users test their own models: each kind of model, its errors, and HTTP requests."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from PIL import Image

from models.errors import ArtifactInvalid, ArtifactMissing, InvalidInput, PredictionFailed
from models.store.artifacts import find
from serving.testing.plugin import MakeClient
from tests.models.python.example_artifacts import saved
from tests.training.text.example_texts import sentences_csv
from training.text.params import Params
from training.text.train import train


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two classes and a text classifier."""
    folder = tmp_path_factory.mktemp("client")
    saved("Sentiment", folder / "models", name="sentiment")
    saved("Faulty", folder / "models", name="faulty")
    params = Params(data=sentences_csv(folder), text="message", target="topic", folds=2, name="topics")
    train(params, store=folder / "models")
    return folder / "models"


def test_a_class_is_asked_for_one_instance_or_several(makunouchi_test_client: MakeClient, store: Path) -> None:
    client = makunouchi_test_client("sentiment", store=store)
    assert client.predict({"text": "good"}) == {"positive": True, "score": 1.0}
    assert client.predict([{"text": "good"}, {"text": "bad"}]) == [
        {"positive": True, "score": 1.0},
        {"positive": False, "score": -1.0},
    ]
    assert makunouchi_test_client("sentiment", store=store) is client
    assert makunouchi_test_client("sentiment", store=store, max_instances=1) is not client


def test_a_text_classifier_is_asked_for_a_text(makunouchi_test_client: MakeClient, store: Path) -> None:
    client = makunouchi_test_client("topics:latest", store=store)
    assert client.predict("The football match had a goal")["prediction"] == "sport"
    assert client.artifact.card.task == "text-classification"


def test_errors_are_those_of_the_service(makunouchi_test_client: MakeClient, store: Path) -> None:
    client = makunouchi_test_client("faulty", store=store)
    with pytest.raises(InvalidInput) as caught:
        client.predict([{"do": "answer"}, {"do": "sing"}])
    assert caught.value.location == ("body", "instances", 1, "do")
    with pytest.raises(PredictionFailed):
        client.predict({"do": "raise"})
    assert client.predict({"do": "answer"}) == {"value": 1.0, "note": ""}


def test_http_requests_are_answered_without_a_port(makunouchi_test_client: MakeClient, store: Path) -> None:
    client = makunouchi_test_client("sentiment", store=store)
    response = client.request("POST", "/v1/python/predict", json={"instances": [{"text": "good"}]})
    assert response.json()["predictions"] == [{"positive": True, "score": 1.0}]
    assert client.request("POST", "/v1/python/predict", json={}).json()["errors"][0]["location"] == [
        "body",
        "instances",
    ]
    assert client.request("GET", "/v1/models/sentiment").status_code == 200


def test_a_test_that_runs_an_event_loop_can_use_it(makunouchi_test_client: MakeClient, store: Path) -> None:
    async def test() -> None:
        assert makunouchi_test_client("sentiment", store=store).predict({"text": "good"})["positive"]

    asyncio.run(test())


def test_an_unknown_model_and_an_unknown_task_are_named(makunouchi_test_client: MakeClient, store: Path) -> None:
    with pytest.raises(ArtifactMissing, match="no artifact 'gone'"):
        makunouchi_test_client("gone", store=store)
    artifact = find("sentiment", store=store)
    card = artifact.folder / "card.json"
    original = card.read_text()
    # The manifest names the size of the file too.
    card.write_text(original.replace('"task": "python"', '"task": "pithon"'))
    try:
        with pytest.raises(ArtifactInvalid):
            makunouchi_test_client("sentiment", store=store, max_instances=3)
    finally:
        card.write_text(original)


def test_a_class_asks_the_artifacts_that_it_uses(makunouchi_test_client: MakeClient, tmp_path: Path) -> None:
    store = tmp_path / "models"
    for class_name, name in (("Asking", "asking"), ("Length", "lengths"), ("Length", "others")):
        saved(class_name, store, name=name)
    assert makunouchi_test_client("asking", store=store).predict(["four", "a"]) == [4, 1]
    saved("Asking", store, name="lengths")
    with pytest.raises(ArtifactInvalid, match="in a cycle: asking -> lengths -> lengths"):
        makunouchi_test_client("asking", store=store, max_instances=5)


@pytest.mark.slow
def test_tables_images_and_recommenders_are_asked_too(
    makunouchi_test_client: MakeClient, tabular_store: Path, image_store: Path, recommender_store: Path, tmp_path: Path
) -> None:
    table = makunouchi_test_client(_only(tabular_store), store=tabular_store)
    row = {column.name: column.example for column in table.artifact.card.inputs}
    assert table.predict(row)["prediction"] in table.artifact.card.classes

    image = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(image, "PNG")
    (tmp_path / "red.png").write_bytes(image.getvalue())
    classifier = makunouchi_test_client(_only(image_store), store=image_store)
    by_bytes = classifier.predict(image.getvalue(), top_k=2)
    assert by_bytes["predictions"] == classifier.predict(tmp_path / "red.png", top_k=2)["predictions"]
    assert len(by_bytes["predictions"]) == 2

    recommender = makunouchi_test_client(_only(recommender_store), store=recommender_store)
    assert len(recommender.predict("196", n=3)["items"]) == 3


def _only(store: Path) -> str:
    (name,) = (path.name for path in store.iterdir() if path.is_dir())
    return name
