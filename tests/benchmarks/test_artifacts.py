"""The benchmark reads and writes artifacts without the code of the service. These tests compare both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import artifacts
from benchmarks.cases import recommender_cases, tabular_cases
from benchmarks.images import jpeg_images
from benchmarks.peers.workloads.recommender import Factors
from benchmarks.peers.workloads.tabular import OnnxTabular
from models.image.file_formats import read_header
from models.recommender.online.predictor import Query, Recommender
from models.store.artifacts import Artifact, find, read_artifact, verify
from models.tabular.model import TabularModel
from models.tabular.row_encoder import RowEncoder


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAKUNOUCHI_CACHE", str(tmp_path))
    return artifacts.synthetic_catalogue(500)


def test_a_synthetic_catalogue_is_an_artifact_of_the_service(catalogue: Path) -> None:
    artifact = read_artifact(catalogue)
    verify(artifact)
    assert artifact.tag == f"catalogue-500:{catalogue.name}"


def test_the_service_and_the_peers_recommend_the_same_items(catalogue: Path) -> None:
    recommender = Recommender.load(read_artifact(catalogue))
    for case in recommender_cases(catalogue, count=20):
        answer = recommender.recommend([Query(user_id=case.request["user_id"], n=case.request["n"])])[0]
        assert (answer.error, answer.reason) == (None, None)
        assert [item.id for item in answer.items] == case.expected


def test_peers_do_not_recommend_seen_items(catalogue: Path) -> None:
    model = Factors(catalogue)
    (result,) = model.predict([model.preprocess({"user_id": "u3", "n": 500})])
    indptr = np.load(catalogue / "interactions" / "seen_indptr.npy")
    seen = np.load(catalogue / "interactions" / "seen_indices.npy")[indptr[3] : indptr[4]]
    recommended = [item["id"] for item in result["items"] if np.isfinite(item["score"])]
    assert not {f"i{row}" for row in seen} & set(recommended)
    scores = [item["score"] for item in result["items"]]
    assert scores == sorted(scores, reverse=True)


def test_a_catalogue_is_created_once(catalogue: Path) -> None:
    before = (catalogue / "card.json").stat().st_mtime_ns
    assert artifacts.synthetic_catalogue(500) == catalogue
    assert (catalogue / "card.json").stat().st_mtime_ns == before


def test_the_service_finds_the_artifacts_of_a_home(catalogue: Path, tmp_path: Path) -> None:
    home = artifacts.create_home([catalogue], tmp_path / "home")
    assert find("catalogue-500:latest", store=home / "models").version == catalogue.name
    again = artifacts.create_home([], home)
    assert not list((again / "models").iterdir())
    assert (catalogue / "card.json").is_file()


def test_the_newest_artifact_has_the_latest_creation_time(tmp_path: Path) -> None:
    for version, created in (
        ("a", "2026-02-01T00:00:00Z"),
        ("b", "2026-03-01T00:00:00Z"),
        ("c", "2026-01-01T00:00:00Z"),
    ):
        (tmp_path / "m" / version).mkdir(parents=True)
        (tmp_path / "m" / version / "card.json").write_text(json.dumps({"created": created}))
    (tmp_path / "m" / "broken").mkdir()
    (tmp_path / "m" / "broken" / "card.json").write_text("{")
    assert artifacts.newest("m", tmp_path) == tmp_path / "m" / "b"
    assert artifacts.newest("absent", tmp_path) is None
    shutil.rmtree(tmp_path / "m")


def test_images_have_the_given_size_and_differ() -> None:
    images = jpeg_images((500, 375), 3)
    assert [(read_header(image).width, read_header(image).height) for image in images] == [(500, 375)] * 3
    assert len(set(images)) == 3
    assert images == jpeg_images((500, 375), 3)


def test_peers_and_the_service_predict_the_same_probabilities(tabular_artifact: Artifact) -> None:
    model, encoder = TabularModel.load(tabular_artifact), RowEncoder(tabular_artifact.card)
    for case in tabular_cases(tabular_artifact.folder, rows=3, count=5):
        np.testing.assert_allclose(model.predict(encoder.encode(case.request["instances"])), case.expected, atol=1e-6)


def test_peers_and_the_service_encode_missing_and_unknown_values_equally(tabular_artifact: Artifact) -> None:
    columns = tabular_artifact.card.inputs
    row: dict[str, object] = {
        column.name: None if column.nullable else "unknown" if column.accepts_unknown else column.example
        for column in columns
    }
    encoded = OnnxTabular(tabular_artifact.folder).preprocess({"instances": [row]})
    np.testing.assert_array_equal(encoded, RowEncoder(tabular_artifact.card).encode([row]))
