"""The limit of request bodies, with and without Content-Length."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from serving.http.middleware import body_limit
from serving.http.middleware.body_limit import BodyLimit

LIMIT = 100


class Reader:
    """Read the whole body and respond with its length."""

    def __init__(self) -> None:
        self.read_bytes = 0
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        async for chunk in Request(scope, receive).stream():
            self.read_bytes += len(chunk)
        await PlainTextResponse(str(self.read_bytes))(scope, receive, send)


class Swallower(Reader):
    """Respond to the interrupted body with the application's own error."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Exception:
            await PlainTextResponse("mine", 500)(scope, receive, send)


class Breaker(Reader):
    """Turn the interrupted body into another exception."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Exception as error:
            raise RuntimeError("broken") from error


def ask(app: Reader, chunks: Sequence[bytes], *headers: tuple[bytes, bytes]) -> tuple[int, bytes, int]:
    """Return status, body, and the number of chunks that were read."""
    taken, messages = 0, list[Message]()

    async def receive() -> Message:
        nonlocal taken
        if taken == len(chunks):
            return {"type": "http.disconnect"}
        taken += 1
        return {"type": "http.request", "body": chunks[taken - 1], "more_body": taken < len(chunks)}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": list(headers)}
    asyncio.run(BodyLimit(app, max_body_bytes=LIMIT)(scope, receive, send))
    assert messages[-1].get("more_body", False) is False
    return messages[0]["status"], b"".join(message.get("body", b"") for message in messages[1:]), taken


def test_a_body_of_the_limit_passes() -> None:
    assert ask(Reader(), [b"x" * 50, b"x" * 50])[:2] == (200, b"100")
    assert ask(Reader(), [b"x" * 100], (b"content-length", b"100"))[:2] == (200, b"100")


def test_a_content_length_over_the_limit_is_refused_before_the_application_is_called() -> None:
    app = Reader()

    status, body, _ = ask(app, [b"x" * 101], (b"content-length", b"101"))

    assert (status, app.calls) == (413, 0)
    assert b"/problems/too-large" in body


@pytest.mark.parametrize("app_type", [Reader, Swallower, Breaker])
@pytest.mark.parametrize("headers", [(), ((b"content-length", b"10"),), ((b"content-length", b"lots"),)])
def test_a_body_with_a_false_length_is_refused_at_the_limit(
    app_type: type[Reader], headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    app = app_type()

    status, body, _ = ask(app, [b"x" * 60] * 50, *headers)

    assert status == 413
    assert b"/problems/too-large" in body
    assert app.read_bytes == 60


def test_the_rest_of_a_refused_body_is_discarded() -> None:
    assert ask(Reader(), [b"x" * 60] * 50)[2] == 50


def test_a_client_that_expects_100_continue_is_answered_immediately() -> None:
    assert ask(Reader(), [b"x"] * 9, (b"content-length", b"101"), (b"expect", b"100-continue"))[2] == 0


def test_an_endless_body_is_discarded_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "LINGER_S", 0.05)
    messages: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b"x" * 60, "more_body": True}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": []}
    asyncio.run(asyncio.wait_for(BodyLimit(Reader(), max_body_bytes=LIMIT)(scope, receive, send), 10))

    assert messages[0]["status"] == 413
    assert (b"connection", b"close") in messages[0]["headers"]


def test_an_error_of_the_application_passes_through() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(broken, [b""])  # type: ignore[arg-type]  # an application all the same


def test_other_protocols_pass() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    asyncio.run(BodyLimit(app, max_body_bytes=1)({"type": "websocket"}, None, None))  # type: ignore[arg-type]
    assert seen == ["websocket"]
