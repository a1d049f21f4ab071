"""Rate limits over HTTP: by key and address, by class of routes, their headers, and an unavailable Redis."""

from __future__ import annotations

from typing import Any

import openapi_spec_validator
import pytest

from serving.redis_client import connect
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.in_process_service import ROW, LocalService
from tests.serving.redis_server import Redis

ROWS = {"instances": [ROW]}
PATH = "/v1/tabular/predict"


def test_the_default_is_no_limit_in_development_and_100_in_production() -> None:
    free = LocalService()
    assert "ratelimit" not in free.post(PATH, json=ROWS).headers
    bounded = LocalService(environment="production", api_keys=API_KEYS)
    answer = bounded.post(PATH, json=ROWS, headers=headers("predict"))

    assert answer.headers["ratelimit-policy"] == '"predict";q=100;w=60'
    assert answer.headers["ratelimit"] == '"predict";r=99;t=1'


def test_a_request_over_the_limit_is_answered_429_with_retry_after() -> None:
    local_service = LocalService(rate_limit=2)
    assert [local_service.post(PATH, json=ROWS).status_code for _ in range(3)] == [200, 200, 429]
    refused = local_service.post(PATH, json=ROWS)

    assert refused.json()["type"] == "/problems/rate-limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["ratelimit"].startswith('"predict";r=0;')
    assert "more than 2 requests in 60 s" in refused.json()["detail"]


def test_each_key_and_each_class_of_routes_has_its_own_bucket() -> None:
    local_service = LocalService(rate_limit=1, rate_limit_read=3, rate_limit_admin=0, api_keys=API_KEYS)

    def status(role: str, path: str = PATH) -> int:
        credentials = headers(role)  # type: ignore[arg-type]
        return (
            local_service.post(path, json=ROWS, headers=credentials)
            if path == PATH
            else local_service.get(path, headers=credentials)
        ).status_code

    assert [status("predict"), status("predict"), status("admin")] == [200, 429, 200]
    assert [status("predict", "/v1/models") for _ in range(4)] == [200, 200, 200, 429]
    reloads = [local_service.post("/v1/models/tabular/reload", headers=headers("admin")).status_code for _ in range(5)]
    assert reloads == [200] * 5


def test_unknown_keys_are_limited_by_address() -> None:
    local_service = LocalService(rate_limit=3, api_keys=API_KEYS)
    tried = [local_service.get("/v1/models", headers={"X-API-Key": f"guess {n}"}).status_code for n in range(5)]

    assert tried == [401, 401, 401, 429, 429]
    assert local_service.get("/v1/models", headers=headers("read")).status_code == 200


@pytest.mark.parametrize(("path", "settings"), [("/livez", {"probes_access": "read"}), ("/v1", {"docs_access": "read"}),
                                                ("/v1/models", {"rate_limit_read": 0})])  # fmt: skip
def test_guesses_are_limited_where_requests_are_not(path: str, settings: dict[str, Any]) -> None:
    local_service = LocalService(rate_limit=2, api_keys=API_KEYS, **settings)
    tried = [local_service.get(path, headers={"X-API-Key": f"guess {n}"}).status_code for n in range(4)]
    assert tried == [401, 401, 429, 429]
    assert [local_service.get(path, headers=headers("read")).status_code for _ in range(4)] == [200] * 4


def test_probes_metrics_and_pages_are_never_limited() -> None:
    local_service = LocalService(rate_limit=1)
    for path in ("/livez", "/readyz", "/health", "/metrics", "/", "/openapi.json", "/v1"):
        assert [local_service.get(path).status_code for _ in range(3)] == [200] * 3


def test_an_invalid_request_counts_and_has_the_headers() -> None:
    answer = LocalService(rate_limit=5).post_json(PATH, "{")
    assert answer.status_code == 400
    assert answer.headers["ratelimit"].startswith('"predict";r=4')


def test_x_forwarded_for_of_an_untrusted_peer_is_ignored() -> None:
    local_service = LocalService(rate_limit=2, trusted_proxies=("10.0.0.0/8",))
    statuses = [
        local_service.post(PATH, json=ROWS, headers={"X-Forwarded-For": f"1.1.1.{n}"}).status_code for n in range(3)
    ]
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize(("without", "status"), [("open", 200), ("closed", 503)])
def test_the_setting_decides_about_requests_without_redis(
    without: str, status: int, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    local_service = LocalService(
        rate_limit=100, rate_limit_store="redis", redis_url=redis.url, rate_limit_without_store=without
    )
    redis.stop()
    answer = local_service.post(PATH, json=ROWS)
    connect.cache_clear()

    assert answer.status_code == status
    assert ("are not limited" if status == 200 else "are refused") in caplog.text
    if status == 503:
        assert answer.json()["type"] == "/problems/limits-unavailable"
        assert answer.headers["retry-after"] == "5"
    assert local_service.get("/readyz").status_code == 200


@pytest.mark.slow
def test_the_document_describes_the_limits() -> None:
    document = LocalService(rate_limit=5).get("/openapi.json").json()
    openapi_spec_validator.validate(document)
    responses = document["paths"][PATH]["post"]["responses"]

    assert {"RateLimit", "RateLimit-Policy"} <= set(responses["200"]["headers"])
    assert {"Retry-After", "RateLimit"} <= set(responses["429"]["headers"])
    assert "429" not in document["paths"]["/livez"]["get"]["responses"]
