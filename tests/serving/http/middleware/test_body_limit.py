"""A body over the limit is refused as it streams, and what the client sends after that is not kept."""

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
    """Reads the whole body and says how long it was."""

    def __init__(self) -> None:
        self.read_bytes = 0
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        async for chunk in Request(scope, receive).stream():
            self.read_bytes += len(chunk)
        await PlainTextResponse(str(self.read_bytes))(scope, receive, send)


class Swallower(Reader):
    """Takes the end of the body for an error of its own, and answers it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Exception:
            await PlainTextResponse("mine", 500)(scope, receive, send)


class Breaker(Reader):
    """Turns the end of the body into another exception."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Exception as error:
            raise RuntimeError("broken") from error


def ask(app: Reader, chunks: Sequence[bytes], *headers: tuple[bytes, bytes]) -> tuple[int, bytes, int]:
    """Status, body, and how many chunks were taken."""
    taken, sent = 0, list[Message]()

    async def receive() -> Message:
        nonlocal taken
        if taken == len(chunks):
            return {"type": "http.disconnect"}
        taken += 1
        return {"type": "http.request", "body": chunks[taken - 1], "more_body": taken < len(chunks)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": list(headers)}
    asyncio.run(BodyLimit(app, max_body_bytes=LIMIT)(scope, receive, send))
    assert sent[-1].get("more_body", False) is False
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]), taken


def test_a_body_of_the_limit_passes() -> None:
    assert ask(Reader(), [b"x" * 50, b"x" * 50])[:2] == (200, b"100")
    assert ask(Reader(), [b"x" * 100], (b"content-length", b"100"))[:2] == (200, b"100")


def test_a_length_over_the_limit_is_refused_before_the_application_is_asked() -> None:
    app = Reader()

    status, body, _ = ask(app, [b"x" * 101], (b"content-length", b"101"))

    assert (status, app.calls) == (413, 0)
    assert b"/problems/too-large" in body


@pytest.mark.parametrize("app_type", [Reader, Swallower, Breaker])
@pytest.mark.parametrize("headers", [(), ((b"content-length", b"10"),), ((b"content-length", b"lots"),)])
def test_a_body_that_lies_about_its_length_is_refused_as_it_passes_the_limit(
    app_type: type[Reader], headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    app = app_type()

    status, body, _ = ask(app, [b"x" * 60] * 50, *headers)

    assert status == 413
    assert b"/problems/too-large" in body
    assert app.read_bytes == 60


def test_the_rest_is_read_and_forgotten_so_that_the_client_sees_the_answer() -> None:
    assert ask(Reader(), [b"x" * 60] * 50)[2] == 50


def test_a_client_that_asked_first_is_not_waited_for() -> None:
    assert ask(Reader(), [b"x"] * 9, (b"content-length", b"101"), (b"expect", b"100-continue"))[2] == 0


def test_a_client_that_never_ends_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "LINGER_S", 0.05)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b"x" * 60, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": []}
    asyncio.run(asyncio.wait_for(BodyLimit(Reader(), max_body_bytes=LIMIT)(scope, receive, send), 10))

    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]


def test_an_error_of_the_application_is_its_own() -> None:
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
