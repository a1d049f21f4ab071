"""The main calls of a running service, over HTTP, with checks of the responses."""

from __future__ import annotations

from typing import Any

import httpx

from deploy.lock import ROOT

CAT = ROOT / "docs" / "images" / "chelsea.jpg"
# Far above the duration of any call, for a busy machine.
_TIMEOUT_S = 60.0


def all_main_calls(url: str) -> dict[str, str]:
    """Make each main call once. Return the served version by model. Raises AssertionError."""
    image = CAT.read_bytes()
    one = _json(httpx.post(f"{url}/v1/images/classify", files={"image": image}, timeout=_TIMEOUT_S))
    assert one["predictions"][0]["confidence"] > 0
    several = _json(httpx.post(f"{url}/v1/images/classify-batch", files=[("images", image)] * 2, timeout=_TIMEOUT_S))
    assert [result["status"] for result in several["results"]] == ["ok", "ok"]
    rows = _json(httpx.post(f"{url}/v1/tabular/predict", json={"instances": example_rows(url)}, timeout=_TIMEOUT_S))
    assert rows["predictions"]
    items = _json(httpx.post(f"{url}/v1/recommendations", json={"user_id": "1", "n": 3}, timeout=_TIMEOUT_S))
    assert len(items["items"]) == 3
    bulk = _json(
        httpx.post(f"{url}/v1/recommendations/bulk", json={"user_ids": ["1", "2"], "n": 3}, timeout=_TIMEOUT_S)
    )
    assert [len(result["items"]) for result in bulk["results"]] == [3, 3]
    assert httpx.get(f"{url}/livez", timeout=_TIMEOUT_S).status_code == 200
    assert httpx.get(f"{url}/metrics", timeout=_TIMEOUT_S).status_code == 200
    models = _json(httpx.get(f"{url}/v1/models", timeout=_TIMEOUT_S))["models"]
    return {model["name"]: model["version"] for model in models if model["served"]}


def example_rows(url: str) -> list[dict[str, Any]]:
    """Return the rows of the example in the service's OpenAPI document."""
    document = _json(httpx.get(f"{url}/docs.json", timeout=_TIMEOUT_S))
    body = document["paths"]["/v1/tabular/predict"]["post"]["requestBody"]["content"]["application/json"]
    rows: list[dict[str, Any]] = next(iter(body["examples"].values()))["value"]["instances"]
    return rows


def _json(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body
