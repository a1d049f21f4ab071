"""Tests of image uploads as a form, as base64 and as the body."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.serving.in_process_service import LocalService, encoded, png

BLUE = (0, 0, 255)
TEXT = base64.b64encode(png(BLUE)).decode()


def predictions(response: Any) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


def test_every_upload_format_gets_the_same_response(local_service: LocalService) -> None:
    form = predictions(local_service.post_image(png(BLUE), top_k="2"))
    raw = local_service.post("/v1/images/classify?top_k=2", content=png(BLUE), headers={"Content-Type": "image/png"})

    assert form[0]["label"] == "blue"
    assert predictions(raw) == form
    assert predictions(local_service.post("/v1/images/classify", json={"image": TEXT, "top_k": 2})) == form


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_body_may_be_any_supported_image_format(local_service: LocalService, format_: str) -> None:
    headers = {"Content-Type": f"image/{format_.lower()}"}

    assert predictions(local_service.post("/v1/images/classify", content=encoded(format_, BLUE), headers=headers))


def test_body_fields_override_the_query(local_service: LocalService) -> None:
    limited = local_service.post("/v1/images/classify?top_k=4&threshold=0", json={"image": TEXT, "top_k": 1})

    assert len(predictions(limited)) == 1


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        ({"json": {"image": "no base64!"}}, 422, "the image is not base64"),
        ({"json": {"image": "aGVsbG8="}}, 415, "not an image that can be read here"),
        ({"json": {}}, 422, "Field required"),
        ({"json": {"image": TEXT, "top_k": 0}}, 422, "greater than or equal to 1"),
        ({"json": {"image": TEXT, "colour": 1}}, 422, "Unknown field"),
        ({"json": [TEXT]}, 422, "valid dictionary"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "Invalid JSON"),
        ({"content": b"", "headers": {"Content-Type": "image/png"}}, 422, "the file is empty"),
        ({"content": b"x", "headers": {"Content-Type": "image/svg+xml"}}, 415, "not an image that can be read here"),
        ({"json": {"image": TEXT}, "params": {"top_k": "many"}}, 422, "top_k"),
        ({"json": {"image": TEXT}, "params": {"size": "1"}}, 422, "Unknown query parameter"),
    ],
)
def test_invalid_uploads_are_refused(
    local_service: LocalService, request_: dict[str, Any], status: int, says: str
) -> None:
    response = local_service.post("/v1/images/classify", **request_)

    assert response.status_code == status
    assert says in response.json()["detail"]
