"""Routes of the operations that many models have."""

from __future__ import annotations

from tests.serving.in_process_service import LocalService


def test_a_model_without_an_operation_does_not_have_its_path(local_service: LocalService) -> None:
    # The recommender has a GET form of its stream, the image classifier has none, and the table has no stream.
    refused = local_service.get("/v1/models/image/stream")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "OPTIONS, POST")
    assert local_service.ask("OPTIONS", "/v1/models/recommender/stream").headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert local_service.post("/v1/models/tabular/stream", json={}).status_code == 404


def test_the_names_that_have_an_operation_are_listed(local_service: LocalService) -> None:
    unknown = local_service.post("/v1/models/none/stream", json={})
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/not-known")
    assert unknown.json()["detail"] == "no model 'none'; known: image, recommender"
