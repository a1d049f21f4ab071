from __future__ import annotations

import json

import pytest

from benchmarks.http_request import HttpRequest, UnexpectedStatus, send, wait_until_ready
from tests.benchmarks.stub_server import response, serving, unused_port

REQUEST = HttpRequest(
    "/x",
    "text/plain",
    b"ab",
    lambda body: json.loads(body)["value"],
    lambda result, expected: result == expected,
)


def test_a_request_is_encoded_as_http() -> None:
    assert REQUEST.encoded("h:1") == (
        b"POST /x HTTP/1.1\r\nHost: h:1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
        b"Accept: application/json\r\n\r\nab"
    )


def test_an_error_status_is_raised_with_its_body() -> None:
    async def reject(number: int, body: bytes) -> bytes:
        return response(b"busy", "503 Service Unavailable")

    with serving(reject) as port, pytest.raises(UnexpectedStatus, match="503: busy"):
        send(port, REQUEST)


def test_waiting_ends_when_a_response_can_be_decoded() -> None:
    async def slow_start(number: int, body: bytes) -> bytes:
        return response(b"starting", "503 Service Unavailable") if number < 3 else response(b'{"value": 7}')

    with serving(slow_start) as port:
        wait_until_ready(port, REQUEST, timeout_s=120, is_alive=lambda: True)


def test_waiting_ends_when_the_server_has_exited() -> None:
    with unused_port() as port, pytest.raises(TimeoutError, match="exited"):
        wait_until_ready(port, REQUEST, timeout_s=120, is_alive=lambda: False)
