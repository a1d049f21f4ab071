from __future__ import annotations

import json
import threading

from benchmarks.http_request import HttpRequest
from benchmarks.validation import ResponseSampler, Samples, validate
from tests.benchmarks.stub_server import Respond, response, serving


def request(expected: int | None) -> HttpRequest:
    return HttpRequest(
        "/",
        "application/json",
        b"{}",
        lambda body: json.loads(body)["value"],
        lambda result, expected: result == expected,
        expected,
    )


def samples(respond: Respond, expected: int | None) -> Samples:
    result = Samples()
    with serving(respond) as port:
        validate(port, request(expected), result)
    return result


async def seven(number: int, body: bytes) -> bytes:
    return response(b'{"value": 7}')


def test_the_expected_result_is_neither_wrong_nor_failed() -> None:
    assert samples(seven, 7) == Samples(sent=1)


def test_the_result_of_another_request_is_wrong() -> None:
    result = samples(seven, 8)
    assert (result.wrong, result.failed, result.errors) == (1, 0, ["7 instead of 8"])


def test_every_result_is_accepted_if_none_is_expected() -> None:
    assert samples(seven, None).wrong == 0


def test_a_response_that_cannot_be_decoded_is_wrong() -> None:
    async def other(number: int, body: bytes) -> bytes:
        return response(b'{"other": 7}')

    assert samples(other, 7).wrong == 1


def test_an_error_status_and_a_closed_connection_are_failures() -> None:
    async def broken(number: int, body: bytes) -> bytes | None:
        return None

    async def rejecting(number: int, body: bytes) -> bytes:
        return response(b"busy", "503 Service Unavailable")

    assert samples(broken, 7).failed == 1
    result = samples(rejecting, 7)
    assert result.failed == 1
    assert "503: busy" in result.errors[0]


def test_the_sampler_sends_requests_until_its_context_exits() -> None:
    sent = threading.Event()

    async def count(number: int, body: bytes) -> bytes:
        if number == 3:
            sent.set()
        return response(b'{"value": 7}')

    with serving(count) as port:
        with ResponseSampler(port, [request(7), request(8)], interval_s=0.001) as sampler:
            assert sent.wait(120)
        total = sampler.samples.sent
        assert total >= 3
        assert abs(sampler.samples.wrong - total // 2) <= 1
        assert sampler.samples.sent == total
