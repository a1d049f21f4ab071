"""Tests of the images of a job."""

from __future__ import annotations

from serving.jobs.storage.item_file import JobItem
from serving.kinds.image.jobs import ImageProcessor
from tests.serving.event_loop import in_loop
from tests.serving.in_process_service import LocalService, png
from tests.serving.jobs.job_fixtures import statuses


@in_loop
async def test_invalid_images_fail_alone() -> None:
    local_service = LocalService()
    items = [JobItem({"name": "a"}, png((0, 0, 255))), JobItem({"name": "b"}, b"no image"), JobItem({"name": "c"})]

    outcomes = await ImageProcessor(local_service.image_handler).process(items, {"top_k": 1})

    assert statuses(outcomes) == ".xx"
    assert [each["label"] for each in outcomes[0].content["predictions"]] == ["blue"]
    assert (outcomes[0].model, outcomes[1].model) != (None, None)
    assert outcomes[1].model is None
