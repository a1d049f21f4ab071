"""The benchmark writes and reads artifacts' files without our code; here both sides are held against each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import artifacts
from benchmarks.peers.workloads.recommender import Factors
from benchmarks.peers.workloads.tabular import OnnxTabular
from benchmarks.photographs import photographs
from benchmarks.scenarios import recommender_cases, tabular_cases
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


def test_the_service_recommends_from_it_what_the_peers_do(catalogue: Path) -> None:
    recommender = Recommender.load(read_artifact(catalogue))
    for case in recommender_cases(catalogue, count=20):
        answer = recommender.recommend([Query(user_id=case.request["user_id"], n=case.request["n"])])[0]
        assert (answer.error, answer.reason) == (None, None)
        assert [item.id for item in answer.items] == case.expected


def test_peers_recommend_nothing_that_was_seen(catalogue: Path) -> None:
    model = Factors(catalogue)
    (answer,) = model.answers([model.item({"user_id": "u3", "n": 500})])
    indptr = np.load(catalogue / "interactions" / "seen_indptr.npy")
    seen = np.load(catalogue / "interactions" / "seen_indices.npy")[indptr[3] : indptr[4]]
    found = [item["id"] for item in answer["items"] if np.isfinite(item["score"])]
    assert not {f"i{row}" for row in seen} & set(found)
    assert [item["score"] for item in answer["items"]] == sorted((i["score"] for i in answer["items"]), reverse=True)


def test_a_catalogue_is_made_once(catalogue: Path) -> None:
    before = (catalogue / "card.json").stat().st_mtime_ns
    assert artifacts.synthetic_catalogue(500) == catalogue
    assert (catalogue / "card.json").stat().st_mtime_ns == before


def test_a_home_links_to_artifacts_that_the_service_finds(catalogue: Path, tmp_path: Path) -> None:
    home = artifacts.home_with([catalogue], tmp_path / "home")
    assert find("catalogue-500:latest", store=home / "models").version == catalogue.name
    again = artifacts.home_with([], home)
    assert not list((again / "models").iterdir())
    assert (catalogue / "card.json").is_file()


def test_the_newest_artifact_is_the_one_with_the_latest_card(tmp_path: Path) -> None:
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


def test_photographs_have_the_size_that_is_asked_for_and_differ() -> None:
    made = photographs((500, 375), 3)
    assert [(read_header(image).width, read_header(image).height) for image in made] == [(500, 375)] * 3
    assert len(set(made)) == 3
    assert made == photographs((500, 375), 3)


def test_peers_predict_rows_as_the_service_does(tabular_artifact: Artifact) -> None:
    model, encoder = TabularModel.load(tabular_artifact), RowEncoder(tabular_artifact.card)
    for case in tabular_cases(tabular_artifact.folder, rows=3, count=5):
        np.testing.assert_allclose(model.predict(encoder.encode(case.request["instances"])), case.expected, atol=1e-6)


def test_peers_encode_missing_and_unknown_values_as_the_service_does(tabular_artifact: Artifact) -> None:
    columns = tabular_artifact.card.inputs
    row: dict[str, object] = {
        column.name: None if column.nullable else "unheard of" if column.accepts_unknown else column.example
        for column in columns
    }
    encoded = OnnxTabular(tabular_artifact.folder).item({"instances": [row]})
    np.testing.assert_array_equal(encoded, RowEncoder(tabular_artifact.card).encode([row]))
