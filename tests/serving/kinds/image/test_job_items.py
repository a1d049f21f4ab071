"""Files as items of an image job, and their results as columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InvalidInput
from serving.jobs.decoding.decode import decode
from serving.kinds.image.job_items import export_columns
from tests.serving.jobs.decoding.uploads import form, items
from tests.serving.jobs.job_fixtures import decode_task, zipped

IMAGES = "serving.kinds.image.job_items:decode_images"


def test_the_parts_of_a_form_are_called_images_and_archive(tmp_path: Path) -> None:
    body, content_type = form(
        ('name="images"; filename="a.png"', "", b"one"), ('name="archive"; filename="b.zip"', "", zipped({"b": b"two"}))
    )

    assert [item.body for item in items(tmp_path, body, content_type, IMAGES)] == [b"one", b"two"]


def test_an_archive_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no image"):
        decode(decode_task(tmp_path, zipped({}), "application/zip", IMAGES))


def test_predictions_become_the_best_class_and_json() -> None:
    predictions = [{"label": "cat", "confidence": 0.9}, {"label": "dog", "confidence": 0.1}]

    columns = export_columns("predictions", predictions)

    assert columns is not None
    assert (columns["label"], columns["confidence"]) == ("cat", 0.9)
    assert columns["predictions"] == '[{"label":"cat","confidence":0.9},{"label":"dog","confidence":0.1}]'
    assert export_columns("index", 0) is None
