"""The calls without HTTP, as BentoML's native methods make them."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from models.errors import DeadlineExceeded, InvalidInput, NotKnown, Overloaded, PredictionFailed
from serving.caller import Caller, set_caller
from serving.calls.deadline import deadline
from serving.calls.images import ImageCalls
from serving.errors import FieldFault
from serving.schemas.images import ClassifyOptions
from serving.schemas.recommendations import BulkRecommendRequest, RecommendRequest
from serving.schemas.tabular import ClassifiedRows
from serving.served import ServedImages
from tests.serving.kitchen import DECODER, IMAGE_CARD, ROW, Kitchen, png


@dataclass
class Door:
    """A decoder that waits until it is let go."""

    open: threading.Event

    def decode(self, image: bytes) -> NDArray[np.uint8]:
        self.open.wait(120)
        return DECODER.decode(image)


def behind_a_door(**settings: object) -> tuple[ImageCalls, threading.Event]:
    kitchen, door = Kitchen(**settings), Door(threading.Event())
    served = ServedImages(kitchen.images, lambda: IMAGE_CARD, door.decode, DECODER.fit)
    return ImageCalls(served, kitchen.settings), door.open


def test_classify_and_predict_and_recommend(kitchen: Kitchen) -> None:
    image = asyncio.run(kitchen.calls.images.classify(png((255, 0, 0)), ClassifyOptions(top_k=1)))
    images = asyncio.run(kitchen.calls.images.classify_many([png(), b"no image"]))
    rows = asyncio.run(kitchen.calls.tabular.predict([ROW]))
    items = asyncio.run(kitchen.calls.recommendations.recommend(RecommendRequest(user_id="alice", n=1)))
    bulk = asyncio.run(kitchen.calls.recommendations.recommend_bulk(BulkRecommendRequest(user_ids=["a", "b"])))

    assert [prediction.label for prediction in image.predictions] == ["red"]
    assert [result.status for result in images.results] == ["ok", "error"]
    assert isinstance(rows, ClassifiedRows)
    assert rows.predictions[0].prediction in ("good", "bad")
    assert items.items[0].item_id == "20"
    assert [result.user_id for result in bulk.results] == ["a", "b"]


def test_what_is_wrong_is_raised(kitchen: Kitchen) -> None:
    with pytest.raises(InvalidInput) as raised:
        asyncio.run(kitchen.calls.images.classify(png(size=(300, 300))[:-40]))
    assert raised.value.location == ("body", "image")
    with pytest.raises(ValidationError):
        asyncio.run(kitchen.calls.tabular.predict([{**ROW, "age": "33"}]))
    with pytest.raises(ValidationError):
        asyncio.run(kitchen.calls.tabular.predict([]))
    request = RecommendRequest(user_id="who", unknown_user="error")
    with pytest.raises(NotKnown):
        asyncio.run(kitchen.calls.recommendations.recommend(request))
    with pytest.raises(PredictionFailed):
        asyncio.run(kitchen.calls.recommendations.recommend(RecommendRequest(user_id="broken")))


@pytest.mark.parametrize("count", [0, 33])
def test_the_number_of_images_is_limited(kitchen: Kitchen, count: int) -> None:
    with pytest.raises(FieldFault, match=f"1 to 32 images may be sent at a time, not {count}"):
        asyncio.run(kitchen.calls.images.classify_many([png()] * count))


def test_the_number_of_users_is_limited_without_http_too(kitchen: Kitchen) -> None:
    with pytest.raises(FieldFault, match="1 to 50 users"):
        asyncio.run(kitchen.calls.recommendations.recommend_bulk(BulkRecommendRequest(user_ids=["a"] * 51)))


def test_an_image_that_is_not_decoded_in_time() -> None:
    calls, door = behind_a_door(request_timeout_s=0.05)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(calls.classify(png()))

    door.set()
    calls.close()


def test_more_images_than_may_wait_are_refused_at_once() -> None:
    calls, door = behind_a_door(max_queue_rows=3, decode_threads=1)

    async def four() -> list[object]:
        asked = [asyncio.ensure_future(calls.classify(png())) for _ in range(4)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        door.set()
        return list(await asyncio.gather(*asked, return_exceptions=True))

    assert [type(each) for each in asyncio.run(four())].count(Overloaded) == 1
    assert asyncio.run(calls.classify(png())).predictions
    calls.close()


def test_the_callers_deadline_counts_and_else_the_setting() -> None:
    async def within(caller: Caller | None) -> float:
        if caller:
            set_caller(caller)
        return deadline(30) - time.monotonic()

    assert asyncio.run(within(None)) == pytest.approx(30, abs=5)
    assert asyncio.run(within(Caller(time.monotonic() + 300, bool))) == pytest.approx(300, abs=5)


def test_the_encoder_is_made_once_for_a_card(kitchen: Kitchen) -> None:
    first = kitchen.calls.tabular.schema
    asyncio.run(kitchen.calls.tabular.predict([ROW]))

    assert kitchen.calls.tabular.schema is first

    kitchen.table_card = replace(kitchen.table_card, classes=("no", "yes"))
    rows = asyncio.run(kitchen.calls.tabular.predict([ROW]))

    assert kitchen.calls.tabular.schema is not first
    assert isinstance(rows, ClassifiedRows)
    assert set(rows.predictions[0].probabilities) == {"no", "yes"}
