"""Middleware of every route: trailing slashes, HEAD, OPTIONS, compression, CORS."""

from __future__ import annotations

import pytest

from tests.serving.in_process_service import ROW, LocalService


@pytest.mark.parametrize("path", ["/v1/models/", "/v1/models//", "/v1/", "/readyz/", "/redoc/"])
def test_a_trailing_slash_is_ignored(local_service: LocalService, path: str) -> None:
    assert local_service.get(path).status_code == 200


def test_a_body_is_accepted_at_a_path_with_a_trailing_slash(local_service: LocalService) -> None:
    assert local_service.post("/v1/tabular/predict/", json={"instances": [ROW]}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/redoc", "/openapi.json", "/v1", "/v1/models", "/livez", "/metrics", "/ui/pages.css"]
)
def test_head_answers_as_get(local_service: LocalService, path: str) -> None:
    assert local_service.ask("HEAD", path).status_code == 200


def test_options_lists_the_methods(local_service: LocalService) -> None:
    response = local_service.ask("OPTIONS", "/v1/models")

    assert response.status_code == 204
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"


def test_responses_to_get_are_compressed_and_predictions_are_not(local_service: LocalService) -> None:
    document = local_service.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    predicted = local_service.post(
        "/v1/tabular/predict", json={"instances": [ROW] * 100}, headers={"Accept-Encoding": "gzip"}
    )

    assert document.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in document.headers["vary"]
    assert "content-encoding" not in local_service.get("/livez", headers={"Accept-Encoding": "gzip"}).headers
    assert len(predicted.content) > 1000
    assert "content-encoding" not in predicted.headers


def test_other_origins_are_not_allowed_by_default(local_service: LocalService) -> None:
    response = local_service.get("/v1/models", headers={"Origin": "https://shop.example"})

    assert "access-control-allow-origin" not in response.headers


def test_origins_of_the_setting_are_allowed() -> None:
    local_service = LocalService(cors_origins=("https://shop.example",))

    allowed = local_service.get("/v1/models", headers={"Origin": "https://shop.example"})
    other = local_service.get("/v1/models", headers={"Origin": "https://evil.example"})
    preflight = local_service.ask(
        "OPTIONS",
        "/v1/tabular/predict",
        headers={
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,x-request-id,traceparent,tracestate,baggage,last-event-id",
        },
    )

    assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
    assert "X-Request-ID" in allowed.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in allowed.headers
    assert "access-control-allow-origin" not in other.headers
    assert preflight.status_code == 200
    assert "POST" in preflight.headers["access-control-allow-methods"]


def test_a_refused_preflight_states_the_reason() -> None:
    local_service = LocalService(cors_origins=("https://shop.example",))
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "TRACE"}

    refused = local_service.ask("OPTIONS", "/v1/tabular/predict", headers=preflight)

    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "/problems/forbidden"
    assert "origin, method" in refused.json()["detail"]
    assert "access-control-allow-origin" not in refused.headers


def test_a_wildcard_origin_allows_no_credentials() -> None:
    answer = LocalService(cors_origins=("*",)).get(
        "/v1/models", headers={"Origin": "https://any.example", "Cookie": "a=b"}
    )

    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/tabular/predict"])
def test_error_responses_have_cors_headers(path: str) -> None:
    local_service = LocalService(cors_origins=("https://shop.example",))

    refused = local_service.post(path, content=b"{", headers={"Origin": "https://shop.example"})

    assert refused.status_code in (404, 415)
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"
