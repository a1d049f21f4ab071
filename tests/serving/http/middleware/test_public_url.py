"""Links of responses behind a trusted proxy: its host, scheme and path prefix."""

from __future__ import annotations

import httpx
import pytest

from tests.serving.in_process_service import ROW, LocalService, png

PROXY = {"X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/ml"}
BASE = "https://shop.example/ml"
CSV = ",".join(ROW) + "\n" + ",".join("" if value is None else str(value).lower() for value in ROW.values()) + "\n"


@pytest.fixture
def behind_proxy() -> LocalService:
    return LocalService(trusted_proxies=("127.0.0.1",), cache_bytes=1_000_000)


def test_all_links_have_the_prefix(behind_proxy: LocalService) -> None:
    document = behind_proxy.get("/docs.json", headers=PROXY).json()
    assert document["servers"] == [{"url": BASE}]
    index = behind_proxy.get("/v1", headers=PROXY).json()
    assert index["url"] == f"{BASE}/v1"
    assert all(link["href"].startswith("/ml/") for link in index["links"])
    problem = behind_proxy.get("/v1/nothing", headers=PROXY).json()
    assert (problem["type"], problem["instance"]) == ("/ml/problems/not-found", "/ml/v1/nothing")
    kinds = behind_proxy.get("/problems", headers=PROXY).json()["problems"]
    assert all(kind["type"].startswith("/ml/problems/") for kind in kinds)


def test_without_a_trusted_proxy_no_link_follows_the_headers() -> None:
    local_service = LocalService()
    assert local_service.get("/docs.json", headers=PROXY).json()["servers"] == [{"url": "http://test"}]
    index = local_service.get("/v1", headers=PROXY).json()
    assert index["url"] == "http://test/v1"
    assert index["links"][0]["href"].startswith("/v1/")
    assert local_service.get("/v1/nothing", headers=PROXY).json()["type"] == "/problems/not-found"


def test_a_cached_response_has_the_links_of_its_own_request(behind_proxy: LocalService) -> None:
    def links(**headers: str) -> httpx.Response:
        body = {"image": ("a.png", png())}
        return behind_proxy.post("/v1/images/classify?threshold=0.1", files=body, headers=headers)

    first, second, again = links(**PROXY), links(), links(**PROXY)
    assert again.headers["x-cache"] == "hit"
    assert first.headers["link"] == again.headers["link"]
    assert '</ml/v2/images/classify>; rel="successor-version"' in first.headers["link"]
    assert '</v2/images/classify>; rel="successor-version"' in second.headers["link"]


def test_the_location_of_a_job_has_the_prefix(behind_proxy: LocalService) -> None:
    response = behind_proxy.post("/v1/tabular/jobs", content=CSV, headers={**PROXY, "Content-Type": "text/csv"})
    assert response.status_code == 202, response.text
    assert response.json()["links"]["job"] == response.headers["location"]
    assert response.headers["location"] == f"/ml/v1/jobs/{response.json()['id']}"
