"""The time limit of request bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.middleware import body_timeout
from serving.http.middleware.body_timeout import BodyTimeout
from tests.serving.event_loop import in_simulated_time


async def reader(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def swallower(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await reader(scope, receive, send)
    except Exception:
        await PlainTextResponse("mine", 500)(scope, receive, send)


async def ask(
    app: ASGIApp, chunks: Sequence[bytes], *, timeout_s: float, is_whole: bool = False, min_rate: int = 0
) -> list[Any]:
    """Return the response to a body that consists of `chunks` and then stalls."""
    messages: list[Any] = []
    left = list(chunks)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or not is_whole}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": []}
    await BodyTimeout(app, timeout_s=timeout_s, min_rate=min_rate)(scope, receive, send)
    return messages


@pytest.mark.parametrize("app", [reader, swallower])
@in_simulated_time
async def test_a_stalled_body_is_answered_408(app: ASGIApp) -> None:
    start, body = await ask(app, [b"x", b"y"], timeout_s=0.02)
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert b"/problems/body-timeout" in body["body"]


@in_simulated_time
async def test_a_body_in_time_passes() -> None:
    start, body = await ask(reader, [b"x", b"yz"], timeout_s=60, is_whole=True)
    assert (start["status"], body["body"]) == (200, b"3")


@in_simulated_time
async def test_the_limit_does_not_apply_after_the_body() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        # Longer than the limit, while waiting for a disconnect.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.1)
        await PlainTextResponse("done")(scope, receive, send)

    start, _ = await ask(slow, [b"x"], timeout_s=0.02, is_whole=True)
    assert start["status"] == 200


@in_simulated_time
async def test_a_started_response_is_not_replaced() -> None:
    async def eager(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 202, "headers": []})
        message = await receive()
        while message["type"] == "http.request":
            message = await receive()
        await send({"type": "http.response.body", "body": b"enough"})

    messages = await ask(eager, [b"x"], timeout_s=0.02)
    assert [each.get("status") for each in messages] == [202, None]


@in_simulated_time
async def test_an_error_of_the_application_passes_through() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ask(broken, [], timeout_s=60)


@in_simulated_time
async def test_a_body_that_trickles_is_ended_before_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_timeout, "GRACE_S", 0.05)
    messages: list[Any] = []

    async def trickle() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/tabular/jobs", "query_string": b"", "headers": []}
    app = BodyTimeout(reader, timeout_s=60, transfer_timeout_s=600, min_rate=1000)
    await asyncio.wait_for(app(scope, trickle, send), 10)

    assert messages[0]["status"] == 408
    assert b"less than 1000 bytes per second" in messages[1]["body"]


@in_simulated_time
async def test_time_in_which_the_application_does_not_read_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_timeout, "GRACE_S", 0.05)

    async def slow_disk(scope: Scope, receive: Receive, send: Send) -> None:
        size = 0
        async for chunk in Request(scope, receive).stream():
            size += len(chunk)
            await asyncio.sleep(0.03)
        await PlainTextResponse(str(size))(scope, receive, send)

    _, body = await ask(slow_disk, [b"x"] * 10, timeout_s=60, is_whole=True, min_rate=1000)
    assert body["body"] == b"10"


@in_simulated_time
async def test_other_protocols_pass() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await BodyTimeout(app, timeout_s=1)({"type": "websocket"}, None, None)  # type: ignore[arg-type]
    assert seen == ["websocket"]
