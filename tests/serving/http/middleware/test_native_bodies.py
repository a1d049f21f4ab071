"""Tests of the bounds of bodies for BentoML's own routes."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from serving.asgi import send_response
from serving.http.middleware.native_bodies import NativeBodies
from tests.hostile_json import names, repeated
from tests.serving.loop_stalls import post

MAX_BYTES = 2_000_000


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await send_response(send, 200, [], (await receive())["body"])


def sent(body: bytes, content_type: str = "application/json") -> tuple[int, bytes]:
    return asyncio.run(post(NativeBodies(echo, max_body_bytes=MAX_BYTES), "/predict", content_type, body))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b'{"rows":[1]}', "application/json"),
        (bytes(MAX_BYTES), "application/json"),
        (repeated(b"[]", size=MAX_BYTES), "multipart/form-data; boundary=b"),
        (repeated(b"[]", size=MAX_BYTES), "image/png"),
    ],
)
def test_other_bodies_are_passed_on(body: bytes, content_type: str) -> None:
    assert sent(body, content_type) == (200, body)


@pytest.mark.parametrize(
    ("body", "status"),
    [(bytes(MAX_BYTES + 1), 413), (repeated(b"[]", size=MAX_BYTES), 413), (b"{%b}" % names(1000), 422)],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_bodies_over_the_bounds_are_refused(body: bytes, status: int, content_type: str) -> None:
    answered, answer = sent(body, content_type)

    assert answered == status
    assert orjson.loads(answer)["status"] == status
