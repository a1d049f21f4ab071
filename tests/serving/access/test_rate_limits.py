"""Limits over HTTP: by key and by address, by class of routes, what is told, what happens without Redis."""

from __future__ import annotations

import ipaddress

import openapi_spec_validator
import pytest

from serving.access.rate_limits import client_of
from serving.redis_client import connect
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.in_process_service import ROW, LocalService
from tests.serving.redis_server import Redis

ROWS = {"instances": [ROW]}
PATH = "/v1/tabular/predict"


def test_development_has_no_limit_and_production_a_hundred() -> None:
    free = LocalService()
    assert "ratelimit" not in free.post(PATH, json=ROWS).headers
    bounded = LocalService(environment="production", api_keys=API_KEYS)
    answer = bounded.post(PATH, json=ROWS, headers=headers("predict"))

    assert answer.headers["ratelimit-policy"] == '"predict";q=100;w=60'
    assert answer.headers["ratelimit"] == '"predict";r=99;t=1'


def test_over_the_limit_is_429_with_when_to_come_back() -> None:
    local_service = LocalService(rate_limit=2)
    assert [local_service.post(PATH, json=ROWS).status_code for _ in range(3)] == [200, 200, 429]
    refused = local_service.post(PATH, json=ROWS)

    assert refused.json()["type"] == "/problems/rate-limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["ratelimit"].startswith('"predict";r=0;')
    assert "more than 2 requests in 60 s" in refused.json()["detail"]


def test_keys_and_classes_of_routes_have_buckets_of_their_own() -> None:
    local_service = LocalService(rate_limit=1, rate_limit_read=3, rate_limit_admin=0, api_keys=API_KEYS)

    def status(role: str, path: str = PATH) -> int:
        sent = headers(role)  # type: ignore[arg-type]
        return (
            local_service.post(path, json=ROWS, headers=sent) if path == PATH else local_service.get(path, headers=sent)
        ).status_code

    assert [status("predict"), status("predict"), status("admin")] == [200, 429, 200]
    assert [status("predict", "/v1/models") for _ in range(4)] == [200, 200, 200, 429]
    reloads = [local_service.post("/v1/models/tabular/reload", headers=headers("admin")).status_code for _ in range(5)]
    assert reloads == [200] * 5


def test_guessing_keys_is_limited_by_address_and_keys_are_not() -> None:
    local_service = LocalService(rate_limit=3, api_keys=API_KEYS)
    tried = [local_service.get("/v1/models", headers={"X-API-Key": f"guess {n}"}).status_code for n in range(5)]

    assert tried == [401, 401, 401, 429, 429]
    assert local_service.get("/v1/models", headers=headers("read")).status_code == 200


def test_probes_metrics_and_pages_are_never_limited() -> None:
    local_service = LocalService(rate_limit=1)
    for path in ("/livez", "/readyz", "/health", "/metrics", "/", "/openapi.json", "/v1"):
        assert [local_service.get(path).status_code for _ in range(3)] == [200] * 3


def test_an_error_counts_and_tells_what_is_left() -> None:
    answer = LocalService(rate_limit=5).post_json(PATH, "{")
    assert answer.status_code == 400
    assert answer.headers["ratelimit"].startswith('"predict";r=4')


NETWORKS = [ipaddress.ip_network(each) for each in ("10.0.0.0/8", "fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "1.2.3.4", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.7, 10.2.3.4", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::/64"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "6.6.6.6, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("2001:db8:0:1:2:3:4:5", None, "2001:db8:0:1::/64"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("a socket", None, "unknown"),
    ],
)
def test_an_address_is_believed_as_far_as_the_proxies_are_ours(peer: str, forwarded: str | None, found: str) -> None:
    sent = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    assert client_of({"type": "http", "client": (peer, 1), "headers": sent}, NETWORKS) == found


def test_a_forged_address_gets_no_bucket_of_its_own() -> None:
    local_service = LocalService(rate_limit=2, trusted_proxies=("10.0.0.0/8",))
    sent = [
        local_service.post(PATH, json=ROWS, headers={"X-Forwarded-For": f"1.1.1.{n}"}).status_code for n in range(3)
    ]
    assert sent == [200, 200, 429]


@pytest.mark.parametrize(("without", "status"), [("open", 200), ("closed", 503)])
def test_without_redis_requests_go_on_or_do_not_by_setting(
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


def test_the_document_tells_of_limits() -> None:
    document = LocalService(rate_limit=5).get("/openapi.json").json()
    openapi_spec_validator.validate(document)
    responses = document["paths"][PATH]["post"]["responses"]

    assert {"RateLimit", "RateLimit-Policy"} <= set(responses["200"]["headers"])
    assert {"Retry-After", "RateLimit"} <= set(responses["429"]["headers"])
    assert "429" not in document["paths"]["/livez"]["get"]["responses"]
