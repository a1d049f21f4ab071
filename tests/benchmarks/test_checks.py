from __future__ import annotations

import json
import threading

import pytest

from benchmarks.checks import Sampled, Sampler, check
from benchmarks.questions import Question, ask_until_right
from tests.benchmarks.local_server import Answer, nobody, response, serving


def question(expected: int | None) -> Question:
    return Question(
        "/",
        "application/json",
        b"{}",
        lambda body: json.loads(body)["is"],
        lambda found, right: found == right,
        expected,
    )


def checked(answer: Answer, expected: int | None) -> Sampled:
    result = Sampled()
    with serving(answer) as port:
        check(port, question(expected), result)
    return result


async def seven(number: int, body: bytes) -> bytes:
    return response(b'{"is": 7}')


def test_the_right_answer_is_neither_wrong_nor_failed() -> None:
    assert checked(seven, 7) == Sampled(asked=1)


def test_somebody_elses_answer_is_wrong() -> None:
    found = checked(seven, 8)
    assert (found.wrong, found.failed, found.faults) == (1, 0, ["7 instead of 8"])


def test_any_answer_does_where_the_right_one_is_not_known() -> None:
    assert checked(seven, None).wrong == 0


def test_an_answer_of_another_form_is_wrong() -> None:
    async def other(number: int, body: bytes) -> bytes:
        return response(b'{"was": 7}')

    assert checked(other, 7).wrong == 1


def test_an_error_status_and_a_closed_connection_are_failures() -> None:
    async def broken(number: int, body: bytes) -> bytes | None:
        return None

    async def refusing(number: int, body: bytes) -> bytes:
        return response(b"busy", "503 Service Unavailable")

    assert checked(broken, 7).failed == 1
    found = checked(refusing, 7)
    assert (found.failed, found.faults is not None and "503: busy" in found.faults[0]) == (1, True)


def test_the_sampler_asks_while_the_block_runs_and_stops_with_it() -> None:
    asked = threading.Event()

    async def notes(number: int, body: bytes) -> bytes:
        if number == 3:
            asked.set()
        return response(b'{"is": 7}')

    with serving(notes) as port:
        with Sampler(port, [question(7), question(8)], every_s=0.001) as sampler:
            assert asked.wait(120)
        total = sampler.result.asked
        assert total >= 3
        assert abs(sampler.result.wrong - total // 2) <= 1
        assert sampler.result.asked == total


def test_waiting_for_a_server_ends_when_its_answer_can_be_read() -> None:
    async def slow_to_start(number: int, body: bytes) -> bytes:
        return response(b"starting", "503 Service Unavailable") if number < 3 else response(b'{"is": 7}')

    with serving(slow_to_start) as port:
        ask_until_right(port, question(7), timeout_s=120, alive=lambda: True)


def test_waiting_for_a_server_that_ended_is_over_at_once() -> None:
    with nobody() as port, pytest.raises(TimeoutError, match="ended by itself"):
        ask_until_right(port, question(7), timeout_s=120, alive=lambda: False)
