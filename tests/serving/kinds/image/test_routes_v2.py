"""Tests of version 2 of the image classification, by path and by header."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serving.version import VERSION
from serving.versions.traffic_split import TrafficSplit
from tests.serving.in_process_service import DECODER, LocalService, png

BLUE = png((0, 0, 255))
TEXT = base64.b64encode(BLUE).decode()
V2, EITHER = "/v2/images/classify", "/images/classify"
CHANGELOG = Path(__file__).parents[4] / "docs" / "api-changelog.md"


def ask(local_service: LocalService, path: str = V2, *, version: str | None = None, **body: Any) -> httpx.Response:
    headers = {} if version is None else {"API-Version": version}
    return local_service.post(path, json={"image": TEXT, **body}, headers=headers)


def test_embedding_is_returned_and_computed_only_on_request(
    local_service: LocalService,
) -> None:
    plain = ask(local_service, top_k=1).json()
    with_it = ask(local_service, top_k=1, embedding=True).json()

    assert plain["embedding"] is None
    assert with_it["embedding"] == DECODER.decode(BLUE)[0, 0].astype(np.float64).tolist()
    assert with_it["predictions"] == plain["predictions"]
    assert plain["predictions"][0]["label"] == "blue"


def test_every_body_format_accepts_the_options(local_service: LocalService) -> None:
    expected = ask(local_service, embedding=True, min_confidence=0.1, model="image").json()
    form = local_service.post(
        V2,
        files={"image": ("image.png", BLUE)},
        data={"embedding": "true", "min_confidence": "0.1", "model": "image"},
    ).json()
    raw = local_service.post(
        f"{V2}?embedding=true&min_confidence=0.1&model=image", content=BLUE, headers={"Content-Type": "image/png"}
    ).json()
    for payload in (form, raw):
        assert {**payload, "inference_time_ms": 0} == {**expected, "inference_time_ms": 0}


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"model": "other"}, 422, "no image model 'other' is served here; served: image"),
        ({"threshold": 0.5}, 422, "Unknown field"),
        ({"embedding": "yes"}, 422, "valid boolean"),
        ({"min_confidence": 2}, 422, "less than or equal to 1"),
    ],
)
def test_invalid_options_are_explained(
    local_service: LocalService, body: dict[str, Any], status: int, detail: str
) -> None:
    answer = ask(local_service, **body)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


def test_model_without_embeddings_explains_the_remedy(local_service: LocalService) -> None:
    local_service.images.embeds = False
    answer = ask(local_service, embedding=True)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/no-embedding")
    assert "train it again: python -m training.image" in answer.json()["detail"]
    assert ask(local_service).status_code == 200


def test_model_version_field_overrides_the_header(local_service: LocalService) -> None:
    traffic = local_service.image_traffic
    local_service.images.held = ("v2",)
    traffic.split = TrafficSplit({"v1": 1.0, "v2": 0.0})
    sent = {"image": TEXT, "version": "v2"}
    answer = local_service.post(V2, json=sent, headers={"X-Model-Version": "v1"})
    assert answer.json()["model"]["version"] == "v2"
    assert ask(local_service).json()["model"]["version"] == "v1"
    unknown = local_service.post(V2, json=sent | {"version": "v3"})
    assert unknown.status_code == 404
    assert unknown.json()["errors"][0]["location"] == ["body", "version"]


@pytest.mark.parametrize(("version", "answered"), [(None, "1"), ("1", "1"), ("2", "2")])
def test_header_selects_the_api_version(local_service: LocalService, version: str | None, answered: str) -> None:
    answer = ask(local_service, EITHER, version=version)
    assert answer.headers["API-Version"] == answered
    assert answer.headers["Vary"] == "API-Version"
    assert ("embedding" in answer.json()) == (answered == "2")


@pytest.mark.parametrize("version", ["3", "v2", "", "1, 2", "2.0"])
def test_unknown_api_version_lists_the_known_versions(local_service: LocalService, version: str) -> None:
    answer = ask(local_service, EITHER, version=version)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/unknown-api-version")
    assert answer.json()["detail"].endswith("known: 1, 2")


@pytest.mark.parametrize("path", ["/v1/images/classify", EITHER, "/classify_image"])
def test_deprecation_headers_appear_only_with_a_deprecated_field(local_service: LocalService, path: str) -> None:
    used = ask(local_service, path, threshold=0.2)
    assert used.status_code == 200
    assert datetime.fromtimestamp(int(used.headers["Deprecation"].removeprefix("@")), UTC).year == 2026
    assert parsedate_to_datetime(used.headers["Sunset"]) > datetime(2027, 11, 1, tzinfo=UTC)
    assert '</v2/images/classify>; rel="successor-version"' in used.headers["Link"]
    assert "Deprecation" not in ask(local_service, path).headers
    assert "Deprecation" not in ask(local_service, min_confidence=0.2).headers


def test_cached_response_has_the_deprecation_headers() -> None:
    local_service = LocalService(cache_bytes=1 << 20)
    for payload in ("miss", "hit"):
        answer = ask(local_service, EITHER, version="1", threshold=0.2)
        assert answer.headers["X-Cache"] == payload
        assert {"deprecation", "sunset", "link", "api-version", "vary"} <= set(answer.headers)
    assert ask(local_service, EITHER, version="2").headers["X-Cache"] == "miss"


def test_document_marks_deprecated_fields_with_a_successor(local_service: LocalService) -> None:
    document = local_service.get("/openapi.json").json()
    components = document["components"]["schemas"]
    operation = document["paths"]["/v1/images/classify-file"]["post"]

    assert components["ClassifyForm"]["properties"]["threshold"]["deprecated"] is True
    assert components["ClassifyFile"]["properties"]["threshold"]["deprecated"] is True
    assert next(each for each in operation["parameters"] if each["name"] == "threshold")["deprecated"] is True
    assert {"Deprecation", "Sunset"} <= set(operation["responses"]["200"]["headers"])
    assert "deprecated" not in components["ClassifyBatchForm"]["properties"]["threshold"]


def test_changelog_matches_the_served_version(local_service: LocalService) -> None:
    text = CHANGELOG.read_text()
    newest = next(line for line in text.splitlines() if line.startswith("## "))
    assert newest.split()[1] == VERSION == local_service.get("/openapi.json").json()["info"]["version"]
    for entry in ("API-Version", "min_confidence", "threshold", "Tue, 30 Nov 2027"):
        assert entry in text
