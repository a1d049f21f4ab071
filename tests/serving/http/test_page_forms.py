"""Forms of plain HTML pages: empty fields, files that were not chosen, and a named button."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from tests.serving.in_process_service import LocalService, png

NOT_CHOSEN = ("", b"", "application/octet-stream")


@pytest.mark.parametrize("path", ["/v1/images/classify", "/v2/images/classify"])
@pytest.mark.parametrize("button", ["submit", "Submit", "upload", "send", "btnSubmit", "submit.x"])
def test_an_image_form_with_empty_fields_and_a_button(local_service: LocalService, path: str, button: str) -> None:
    fields = {"top_k": "", button: "Classify", "_charset_": "utf-8"}
    response = local_service.post(path, files={"image": ("a.png", png())}, data=fields)

    assert response.status_code == 200, response.text
    assert len(response.json()["predictions"]) == 5


def test_a_form_of_several_images_with_one_that_was_not_chosen(local_service: LocalService) -> None:
    sent = [("images", ("a.png", png())), ("images", NOT_CHOSEN)]
    for path in ("/v1/images/classify-batch", "/v1/images/classify-stream"):
        response = local_service.post(path, files=sent, data={"threshold": "", "submit": "Go"})

        assert response.status_code == 200, response.text
    assert len(local_service.post("/v1/images/classify-batch", files=sent).json()["results"]) == 1


def test_a_misspelled_option_is_no_button(local_service: LocalService) -> None:
    response = local_service.post_image(png(), topk="3")

    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == ["body", "topk"]


def test_a_form_without_its_image_says_so(local_service: LocalService) -> None:
    response = local_service.post("/v1/images/classify", files={"image": NOT_CHOSEN}, data={"submit": "Go"})

    assert response.status_code == 422
    assert response.json()["detail"] == "a file part 'image' is required"


def archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("red.png", png())
    return packed.getvalue()


@pytest.mark.parametrize(
    "files",
    [
        [("images", NOT_CHOSEN), ("archive", ("a.zip", archive(), "application/x-zip-compressed"))],
        [("images", ("a.png", png())), ("archive", NOT_CHOSEN)],
    ],
)
def test_a_job_form_with_a_file_that_was_not_chosen(local_service: LocalService, files: Any) -> None:
    response = local_service.post("/v1/images/jobs", files=files, data={"submit": "Send", "note": ""})

    assert response.status_code == 202, response.text
    assert response.json()["progress"]["total"] == 1


def test_a_job_form_with_an_unknown_field_is_refused(local_service: LocalService) -> None:
    files = {"archive": ("a.zip", archive())}

    assert local_service.post("/v1/images/jobs", files=files, data={"note": "x"}).status_code == 422
