"""Tests of the handlers without HTTP, as BentoML's native methods call them."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from models.errors import DeadlineExceeded, InvalidInput, NotKnown, PredictionFailed
from serving.context import RequestContext, deadline, set_context
from serving.errors.exceptions import FieldFault, LimitReached
from serving.kinds.image.handler import ImageHandler
from serving.kinds.image.schemas import ClassifyOptions
from serving.kinds.image.version import ImageVersion
from serving.kinds.recommender.schemas import BulkRecommendRequest, RecommendRequest
from serving.kinds.served_model import ServedModel
from serving.kinds.tabular.answers.classes import ClassifiedRows
from tests.serving.in_process_service import DECODER, IMAGE_CARD, ROW, LocalService, png


@dataclass
class BlockingDecoder:
    """A decoder that waits for an event."""

    released: threading.Event

    def decode(self, image: bytes) -> NDArray[np.uint8]:
        self.released.wait(120)
        return DECODER.decode(image)


def handler_with_blocking_decoder(**settings: object) -> tuple[ImageHandler, threading.Event]:
    local_service, decoder = LocalService(**settings), BlockingDecoder(threading.Event())
    version = ImageVersion(IMAGE_CARD, decoder.decode, DECODER.fit)
    served: ServedModel[ImageVersion] = ServedModel(
        "image", local_service.images, lambda _: version, local_service.image_traffic, timeout_s=30.0
    )
    return ImageHandler(served, local_service.settings), decoder.released


def test_classify_and_predict_and_recommend(local_service: LocalService) -> None:
    image = asyncio.run(local_service.image_handler.classify(png((255, 0, 0)), ClassifyOptions(top_k=1)))
    images = asyncio.run(local_service.image_handler.classify_many([png(), b"no image"]))
    rows = asyncio.run(local_service.table_handler.predict([ROW])).to_response()
    items = asyncio.run(
        local_service.recommender_handler.recommend(RecommendRequest(user_id="alice", n=1))
    ).to_response()
    bulk = asyncio.run(local_service.recommender_handler.recommend_bulk(BulkRecommendRequest(user_ids=["a", "b"])))

    assert [prediction.label for prediction in image.predictions] == ["red"]
    assert [result.status for result in images.results] == ["ok", "error"]
    assert isinstance(rows, ClassifiedRows)
    assert rows.predictions[0].prediction in ("good", "bad")
    assert items.items[0].item_id == "20"
    assert [result.user_id for result in bulk.results] == ["a", "b"]


def test_invalid_input_raises(local_service: LocalService) -> None:
    with pytest.raises(InvalidInput) as raised:
        asyncio.run(local_service.image_handler.classify(png(size=(300, 300))[:-40]))
    assert raised.value.location == ("body", "image")
    with pytest.raises(ValidationError):
        asyncio.run(local_service.table_handler.predict([{**ROW, "age": "33"}]))
    with pytest.raises(ValidationError):
        asyncio.run(local_service.table_handler.predict([]))
    request = RecommendRequest(user_id="who", unknown_user="error")
    with pytest.raises(NotKnown):
        asyncio.run(local_service.recommender_handler.recommend(request))
    with pytest.raises(PredictionFailed):
        asyncio.run(local_service.recommender_handler.recommend(RecommendRequest(user_id="broken")))


@pytest.mark.parametrize("count", [0, 33])
def test_the_number_of_images_is_limited(local_service: LocalService, count: int) -> None:
    with pytest.raises(FieldFault, match=f"1 to 32 images may be sent at a time, not {count}"):
        asyncio.run(local_service.image_handler.classify_many([png()] * count))


def test_the_number_of_users_is_limited(local_service: LocalService) -> None:
    with pytest.raises(FieldFault, match="1 to 50 users"):
        asyncio.run(local_service.recommender_handler.recommend_bulk(BulkRecommendRequest(user_ids=["a"] * 51)))


def test_slow_decoding_exceeds_the_deadline() -> None:
    handler, released = handler_with_blocking_decoder(request_timeout_s=0.05)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(handler.classify(png()))

    released.set()
    handler.close()


def test_images_beyond_the_queue_limit_are_refused_at_once() -> None:
    handler, released = handler_with_blocking_decoder(max_queue_rows=3, decode_threads=1)

    async def classify_four() -> list[object]:
        requests = [asyncio.ensure_future(handler.classify(png())) for _ in range(4)]
        await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        released.set()
        return list(await asyncio.gather(*requests, return_exceptions=True))

    assert [type(each) for each in asyncio.run(classify_four())].count(LimitReached) == 1
    assert asyncio.run(handler.classify(png())).predictions
    handler.close()


def test_deadline_of_the_request_overrides_the_setting() -> None:
    async def remaining_s(context: RequestContext | None) -> float:
        if context:
            set_context(context)
        return deadline(30) - time.monotonic()

    assert asyncio.run(remaining_s(None)) == pytest.approx(30, abs=5)
    assert asyncio.run(remaining_s(RequestContext(time.monotonic() + 300, bool))) == pytest.approx(300, abs=5)


def test_schema_is_built_once_per_card(local_service: LocalService) -> None:
    first = local_service.table_handler.model.current.schema
    asyncio.run(local_service.table_handler.predict([ROW]))

    assert local_service.table_handler.model.current.schema is first

    local_service.table_card = replace(local_service.table_card, classes=("no", "yes"))
    rows = asyncio.run(local_service.table_handler.predict([ROW])).to_response()

    assert local_service.table_handler.model.current.schema is not first
    assert isinstance(rows, ClassifiedRows)
    assert set(rows.predictions[0].probabilities) == {"no", "yes"}
