"""Problem documents over HTTP."""

from __future__ import annotations

import pytest

from models.errors import DeadlineExceeded, Overloaded, PredictionFailed, RunnerUnavailable
from tests.serving.in_process_service import ROW, LocalService, png
from tests.serving.runners.small_runners import INTERNAL_TEXT

ROWS = {"instances": [ROW]}


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (RunnerUnavailable(INTERNAL_TEXT), 503, "5"),
        (Overloaded(INTERNAL_TEXT), 503, "1"),
        (DeadlineExceeded(INTERNAL_TEXT), 504, None),
        (PredictionFailed(INTERNAL_TEXT), 500, None),
        (RuntimeError(INTERNAL_TEXT), 500, None),
    ],
)
def test_an_error_of_a_runner(
    local_service: LocalService, error: Exception, status: int, retry_after: str | None
) -> None:
    local_service.table.error = local_service.images.error = local_service.recommender.error = error

    for response in (
        local_service.post("/v1/tabular/predict", json=ROWS),
        local_service.post_image(png()),
        local_service.post("/v1/images/classify-batch", files={"images": ("a.png", png())}),
        local_service.post("/v1/recommendations", json={"user_id": "alice"}),
        local_service.post("/v1/recommendations/bulk", json={"user_ids": ["alice"]}),
    ):
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers.get("retry-after") == retry_after
        assert INTERNAL_TEXT not in response.text
        assert response.json()["instance"] == response.request.url.path


def test_an_invalid_prediction_is_a_failure_of_the_model(local_service: LocalService) -> None:
    local_service.table.weights = local_service.table.weights * float("nan")
    assert local_service.post("/v1/tabular/predict", json=ROWS).json()["type"] == "/problems/prediction-failed"

    local_service.images.weights = local_service.images.weights[:, :3]
    assert local_service.post_image(png()).json()["type"] == "/problems/prediction-failed"


def test_an_unknown_path(local_service: LocalService) -> None:
    response = local_service.get("/v1/nothing")

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/not-found"


@pytest.mark.parametrize(("method", "path", "allow"), [
    ("GET", "/v1/tabular/predict", "OPTIONS, POST"),
    ("DELETE", "/v1/models", "GET, HEAD, OPTIONS"),
    ("BREW", "/v1/models/tabular", "GET, HEAD, OPTIONS"),
    ("PUT", "/", "GET, HEAD, OPTIONS"),
])  # fmt: skip
def test_an_unsupported_method_is_answered_with_the_allowed_ones(
    local_service: LocalService, method: str, path: str, allow: str
) -> None:
    response = local_service.ask(method, path)

    assert response.status_code == 405
    assert response.headers["allow"] == allow
    assert response.json()["type"] == "/problems/method-not-allowed"


def test_the_type_of_a_problem_is_a_path_to_its_description(local_service: LocalService) -> None:
    problem = local_service.post_json("/v1/tabular/predict", "{}").json()

    described = local_service.get(problem["type"]).json()

    assert described["type"] == problem["type"]
    assert described["title"] == problem["title"]
    assert described["status"] == problem["status"]
    assert described in local_service.get("/problems").json()["problems"]
    assert "known: malformed" in local_service.get("/problems/other").json()["detail"]


@pytest.mark.parametrize("path", ["/v1/models/a%20b", "/v1/models/%C3%BC", "/v1/models/%3Cx%3E", "/nothing/%7B%22"])
def test_the_instance_is_the_path_of_the_request(local_service: LocalService, path: str) -> None:
    assert local_service.get(path).json()["instance"] == path
