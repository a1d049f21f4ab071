"""Invalid requests: each has its own message and status, and does not reach a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from serving.kinds.recommender.schemas import RecommendRequest
from tests.serving.in_process_service import ROW, LocalService, png
from tests.serving.invalid_requests.case import BATCH, BULK, CLASSIFY, PREDICT, RECOMMEND, Bad, bomb
from tests.serving.invalid_requests.cases import TABLE, ask, markdown

ROOT = Path(__file__).parent.parent.parent.parent
NATIVE = {
    CLASSIFY: "/classify_image",
    BATCH: "/classify_images",
    PREDICT: "/predict_tabular",
    RECOMMEND: "/recommend",
    BULK: "/recommend_bulk",
}


@pytest.mark.parametrize("bad", TABLE, ids=[bad.what for bad in TABLE])
def test_an_invalid_request_gets_its_status_and_message(bad: Bad) -> None:
    calls, response = ask(bad)

    assert response.status_code == bad.status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == bad.status
    assert problem["type"].startswith("/problems/")
    assert problem["instance"] == unquote(bad.path.partition("?")[0])
    if bad.at is None:
        assert bad.says in problem["detail"]
    else:
        fault = problem["errors"][0]
        assert fault["location"] == bad.at
        assert bad.says in fault["message"]
        assert bad.value_type in (None, fault["value_type"])
    assert calls == []


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "bad-inputs.md").read_text() == markdown()


@pytest.mark.parametrize("name", NATIVE)
def test_the_native_paths_answer_with_the_same_status(local_service: LocalService, name: str) -> None:
    for bad in TABLE:
        is_plain = not bad.settings and bad.method == "POST" and "over the limit" not in bad.what
        if bad.path == name and is_plain:
            assert local_service.post(NATIVE[name], **bad.request).status_code == bad.status, bad.what


def test_a_bad_image_fails_alone(local_service: LocalService) -> None:
    files = [png((255, 0, 0)), b"not an image", png((0, 0, 255)), bomb(), png(size=(300, 300))[:-40], b""]

    response = local_service.post(BATCH, files=[("images", (f"{n}.png", data)) for n, data in enumerate(files)])

    assert response.status_code == 200
    results = response.json()["results"]
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4, 5]
    assert [result["status"] for result in results] == ["ok", "error", "ok", "error", "error", "error"]
    assert [result["error"]["status"] for result in results if result["status"] == "error"] == [415, 413, 422, 422]
    assert local_service.images.calls == [2]


def test_one_invalid_row_is_located_and_no_row_is_predicted(local_service: LocalService) -> None:
    response = local_service.post(PREDICT, json={"instances": [ROW, {**ROW, "age": "old"}, ROW]})

    assert response.status_code == 422
    assert [fault["location"] for fault in response.json()["errors"]] == [["body", "instances", 1, "age"]]


def test_the_faults_of_the_first_faulty_row_are_listed(local_service: LocalService) -> None:
    problem = local_service.post(PREDICT, json={"instances": [ROW, *[{}] * 999]}).json()

    assert {fault["location"][2] for fault in problem["errors"]} == {1}
    assert len(problem["errors"]) == 6
    assert problem["detail"].endswith("and 5 more")


def test_of_many_faults_the_first_fifty_are_listed(local_service: LocalService) -> None:
    problem = local_service.post(PREDICT, json={"instances": [{**ROW, **{f"a{n}": 0 for n in range(200)}}]}).json()

    assert len(problem["errors"]) == 50
    assert problem["detail"].endswith("and 199 more")


def test_long_field_names_are_shortened(local_service: LocalService) -> None:
    response = local_service.post(PREDICT, json={"instances": [{**ROW, "x" * 100_000: 1}]})

    assert response.status_code == 422
    assert len(response.content) < 1000


@pytest.mark.parametrize("options", [{"category_caps": {"Drama": 2**64}}, {"max_per_category": 2**64}])
def test_counts_over_the_safe_integers_are_invalid(options: dict[str, Any]) -> None:
    response = LocalService().post("/v1/recommendations", json={"user_id": "alice"} | options)

    assert response.status_code == 422
    assert "less than or equal to 9007199254740991" in response.json()["detail"]


def test_features_with_large_integers_are_converted_to_floats() -> None:
    request = RecommendRequest.model_validate_json(b'{"user_id": "a", "user_features": {"age": 18446744073709551616}}')

    assert type(request.user_features["age"]) is float
