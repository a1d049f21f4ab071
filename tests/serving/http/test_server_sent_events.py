"""Server-Sent Events: order, ids, the terminal event, and a disconnected client."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Literal

import httpx
import pytest
from pydantic import BaseModel

from serving.http.server_sent_events import EventStream, in_completion_order
from serving.kinds.image.handler import ImageHandler
from serving.routes import streams
from tests.serving.event_loop import in_loop
from tests.serving.http_server import listening
from tests.serving.in_process_service import LocalService, png


class Item(BaseModel):
    index: int
    status: Literal["ok", "error"] = "ok"


def events(text: str) -> list[tuple[str, str, Any]]:
    received = []
    for block in text.strip("\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        received.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return received


@in_loop
async def test_items_are_sent_in_completion_order_with_a_terminal_event() -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def item(index: int) -> Item:
        await gates[index].wait()
        return Item(index=index, status="error" if index == 1 else "ok")

    stream = in_completion_order([item(index) for index in range(3)])
    seen = []
    for index in (2, 0, 1):
        gates[index].set()
        seen += events((await anext(stream)).decode())
    seen += events((await anext(stream)).decode())

    assert [(kind, id_) for kind, id_, _ in seen] == [("item", "2"), ("item", "0"), ("item", "1"), ("done", "done")]
    assert seen[-1][2] == {"items": 3, "failed": 1}
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


@in_loop
async def test_unfinished_items_are_cancelled_when_the_client_disconnects() -> None:
    cancelled = asyncio.Event()

    async def endless() -> Item:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    async def quick() -> Item:
        return Item(index=1)

    stream = in_completion_order([endless(), quick()])
    assert b"id: 1\n" in await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator

    assert cancelled.is_set()


def test_classify_stream_answers_each_image(local_service: LocalService) -> None:
    files = [("images", (f"{n}.png", each)) for n, each in enumerate((png((0, 0, 255)), b"no image", png()))]

    response = local_service.post("/v1/images/classify-stream", files=files, data={"top_k": "1"})

    assert response.headers["content-type"].startswith("text/event-stream")
    received = events(response.text)
    assert received[-1] == ("done", "done", {"items": 3, "failed": 1})
    by_id = {id_: data for kind, id_, data in received if kind == "item"}
    assert by_id["0"]["predictions"][0]["label"] == "blue"
    assert by_id["1"]["error"]["status"] == 415
    assert [data["index"] for data in (by_id["0"], by_id["1"], by_id["2"])] == [0, 1, 2]


def test_recommendations_stream_answers_each_user(local_service: LocalService) -> None:
    body = {"user_ids": ["alice", "broken", "bob"], "n": 2}

    received = events(local_service.post("/v1/recommendations/stream", json=body).text)

    assert received[-1] == ("done", "done", {"items": 3, "failed": 1})
    by_id = {id_: data for kind, id_, data in received if kind == "item"}
    expected = local_service.post("/v1/recommendations/bulk", json=body).json()["results"]
    assert [by_id[str(index)] for index in range(3)] == expected


def test_the_options_of_one_user_apply_to_that_user(local_service: LocalService) -> None:
    body = {"user_ids": ["new", "other"], "n": 1, "per_user": {"new": {"history": ["3", "7"]}}}
    received = events(local_service.post("/v1/recommendations/stream", json=body).text)
    reasons = {data["user_id"]: data["reason"] for kind, _, data in received if kind == "item"}
    assert reasons == {"new": "request_history", "other": "unknown_user"}


def test_an_unavailable_runner_fails_the_items_and_not_the_stream(local_service: LocalService) -> None:
    local_service.images.is_gone = True

    received = events(local_service.post("/v1/images/classify-stream", files={"images": png()}).text)

    assert received[0][2]["error"]["status"] == 503
    assert received[-1][0] == "done"


@pytest.mark.parametrize(
    ("path", "request_", "status"),
    [
        ("/v1/images/classify-stream", {"files": {"image": png()}}, 422),
        ("/v1/images/classify-stream", {"files": {"images": png()}, "data": {"top_k": "0"}}, 422),
        ("/v1/images/classify-stream", {"json": {}}, 415),
        ("/v1/recommendations/stream", {"json": {"user_ids": []}}, 422),
        ("/v1/recommendations/stream", {"json": {"user_ids": ["a"], "per_user": {"b": {}}}}, 422),
        ("/v1/recommendations/stream", {"json": {"user_ids": ["a"] * 51}}, 422),
    ],
)
def test_an_invalid_request_gets_a_problem_document(
    local_service: LocalService, path: str, request_: dict[str, Any], status: int
) -> None:
    response = local_service.post(path, **request_)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


def test_the_first_event_does_not_wait_for_the_last(local_service: LocalService) -> None:
    files = [("images", ("a.png", png())), ("images", ("b.png", png()))]
    with (
        listening(local_service.edged) as address,
        httpx.stream("POST", f"http://{address}/v1/images/classify-stream", files=files) as response,
    ):
        chunks = list(response.iter_raw())

    assert b"".join(chunks).endswith(b'"failed":0}\n\n')
    assert response.headers["transfer-encoding"] == "chunked"


def test_streams_of_one_caller_leave_places_for_others_and_are_counted_until_they_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "MAX_STREAMS", 2)
    local_service = LocalService()
    files = {"images": ("red.png", png())}
    path = "/v1/images/classify-stream"

    async def test() -> None:
        has_begun, never = asyncio.Event(), asyncio.Event()

        async def hang(*args: Any, **more: Any) -> Any:
            has_begun.set()
            await never.wait()

        async with local_service.client() as client:
            with monkeypatch.context() as patch:
                patch.setattr(ImageHandler, "classify", hang)
                left = asyncio.create_task(client.post(path, files=files))
                await has_begun.wait()
                refused = await client.post(path, files=files)
            left.cancel()
            await asyncio.wait({left})
            answer = await client.post(path, files=files)

        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/caller-limit")
        assert "you use 1 of the 2 open streams" in refused.json()["detail"]
        assert answer.status_code == 200

    asyncio.run(test())


@in_loop
async def test_a_stream_that_is_never_read_ends_too() -> None:
    ended: list[bool] = []
    response = EventStream(in_completion_order([]), on_end=lambda: ended.append(True))

    async def gone(*args: Any) -> Any:
        raise OSError

    with contextlib.suppress(Exception):
        await response({"type": "http", "asgi": {"spec_version": "2.4"}}, gone, gone)
    assert ended == [True]


def test_a_get_stream_is_in_the_order_of_the_request_and_resumes_after_any_event(local_service: LocalService) -> None:
    path = "/v1/recommendations/stream?user_ids=alice,bob&user_ids=new%2C+one&n=2"
    whole = events(local_service.get(path).text)

    assert [id_ for _, id_, _ in whole] == ["0", "1", "2", "done"]
    assert [data["user_id"] for kind, _, data in whole if kind == "item"] == ["alice", "bob", "new, one"]
    assert whole[-1][2] == {"items": 3, "failed": 0}
    for place in range(3):
        rest = events(local_service.get(path, headers={"Last-Event-ID": str(place)}).text)
        assert rest[:-1] == whole[place + 1 : -1]
        assert rest[-1][:2] == ("done", "done")
    # EventSource stops connecting after 204.
    assert local_service.get(path, headers={"Last-Event-ID": "done"}).status_code == 204
    assert events(local_service.get(path, headers={"Last-Event-ID": "other"}).text) == whole


@pytest.mark.parametrize("query", ["", "?user_ids=", "?user_ids=a&n=0", "?user_ids=a&more=1", "?user_ids=" + "a" * 300])
def test_an_invalid_get_stream_is_refused_before_it_starts(local_service: LocalService, query: str) -> None:
    response = local_service.get(f"/v1/recommendations/stream{query}")

    assert response.status_code == 422
    assert response.json()["errors"][0]["location"][0] == "query"
