"""A bad item fails alone, a wrong answer is rejected, and a version that is not loaded is an error of its items."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from models.errors import DeadlineExceeded, InvalidInput, PredictionFailed, VersionNotLoaded
from serving.process.heartbeat import Heartbeat
from serving.runners.host import batch_method
from serving.runners.host.batch_method import BatchMethod
from serving.runners.host.event_loop_policy import QUICK_S
from serving.runners.interface import ModelRef
from serving.runners.wire import WireRequest, WireResponse
from tests.serving.event_loop import in_loop
from tests.serving.runners.sum_predictors import MODEL_WORDS, NAN, RAISE, REFUSE, SHORT, TEXT, Sums, SumsRunner

LATER = float("inf")


def request(first: float, rows: int = 1, deadline: float = LATER) -> WireRequest:
    return WireRequest(np.full((rows, 3), first, np.float32), rows, f"id{first}", deadline)


def method_of(model: Sums) -> BatchMethod:
    return BatchMethod(model.predict, last_used=lambda: ModelRef("sums", "v1"), name="sums")


def kind(error: object) -> type:
    return PredictionFailed if isinstance(error, PredictionFailed) else type(error)


def sums(answers: list[WireResponse | Exception]) -> list[Any]:
    return [each.payload[:, 0].tolist() if isinstance(each, WireResponse) else kind(each) for each in answers]  # type: ignore[call-overload]


def test_one_call_answers_all() -> None:
    model = Sums()
    assert sums(method_of(model).run_now([request(1), request(2, rows=2), request(3)])) == [[3], [6, 6], [9]]
    assert model.calls == [4]


@pytest.mark.parametrize("bad", [RAISE, SHORT, TEXT])
@pytest.mark.parametrize("place", [0, 3, 7])
def test_a_bad_item_fails_alone(bad: float, place: int) -> None:
    model = Sums()
    requests = [request(value, rows=1 + value % 2) for value in range(8)]
    requests[place] = request(bad)
    answers = sums(method_of(model).run_now(requests))
    assert answers.pop(place) is PredictionFailed
    del requests[place]
    assert answers == [[3 * float(each.payload[0, 0])] * each.rows for each in requests]  # type: ignore[call-overload]
    # Halving takes fewer calls than one call per item.
    assert len(model.calls) <= 7


def test_nan_fails_alone_without_a_second_call() -> None:
    model = Sums()
    assert sums(method_of(model).run_now([request(1), request(NAN), request(2)])) == [[3], PredictionFailed, [6]]
    assert model.calls == [3]


def test_an_input_error_reaches_its_caller_with_its_message() -> None:
    answers = method_of(Sums()).run_now([request(1), request(REFUSE)])
    assert sums(answers) == [[3], InvalidInput]
    assert str(answers[1]) == "row is not welcome"


def test_the_message_of_a_model_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    (answer,) = method_of(Sums()).run_now([request(RAISE)])
    assert MODEL_WORDS not in str(answer)
    assert MODEL_WORDS in caplog.text
    assert f"id{RAISE}" in caplog.text


def test_a_late_request_is_not_run() -> None:
    model = Sums()
    assert sums(method_of(model).run_now([request(1, deadline=time.monotonic()), request(2)])) == [
        DeadlineExceeded,
        [6],
    ]
    assert model.calls == [1]


def test_all_bad_costs_less_than_twice_as_many_calls() -> None:
    model = Sums()
    answers = sums(method_of(model).run_now([request(RAISE)] * 16))
    assert answers == [PredictionFailed] * 16
    assert len(model.calls) == 31


def test_one_number_per_row_becomes_a_column() -> None:
    flat = BatchMethod(lambda rows: rows.sum(axis=1), last_used=lambda: ModelRef("a", "b"), name="flat")
    (answer,) = flat.run_now([request(2, rows=2)])
    assert isinstance(answer, WireResponse)
    assert answer.payload.shape == (2, 1)  # type: ignore[union-attr]
    assert answer.payload.dtype == np.float32  # type: ignore[union-attr]


def test_json_answers_must_be_as_many_objects() -> None:
    wrongs: list[object] = [[{}], [{}, 1], {}, None]
    for wrong in wrongs:
        method = BatchMethod(partial(_give, wrong), last_used=lambda: ModelRef("a", "b"), name="json")
        (answer,) = method.run_now([WireRequest([{}, {}], 2, "", LATER)])
        assert isinstance(answer, PredictionFailed)


def test_a_coroutine_is_refused() -> None:
    async def predict(rows: object) -> object:
        return rows

    with pytest.raises(TypeError, match="plain function"):
        BatchMethod(predict, last_used=lambda: ModelRef("a", "b"), name="coroutine")


def _give(answer: object, queries: object) -> object:
    return answer


@in_loop
async def test_a_warm_up_must_be_answered() -> None:
    method = method_of(Sums())
    await method.warm_up(request(1), calls=5)
    assert sums(await method.run([request(1), request(2)])) == [[3], [6]]
    with pytest.raises(PredictionFailed):
        await method.warm_up(request(RAISE), calls=5)
    method.close()


def for_version(version: str) -> WireRequest:
    return replace(request(1), version=version)


def test_a_version_that_is_not_loaded_is_an_error_of_the_requests_that_name_it() -> None:
    runner = SumsRunner()
    runner.model.hold(["v2"])
    method = BatchMethod(runner.call, last_used=lambda: runner.model.last_used, name="sums")
    results = method.run_now([for_version(version) for version in ("v1", "v9", "v2", "", "v9")])
    assert [type(result) for result in results] == [
        WireResponse, VersionNotLoaded, WireResponse, WireResponse, VersionNotLoaded,
    ]  # fmt: skip
    assert [each.model.version for each in results if isinstance(each, WireResponse)] == ["v1", "v2", "v1"]


def test_a_runner_of_one_version_answers_no_other() -> None:
    results = method_of(Sums("v1")).run_now([for_version("v2"), for_version("v1"), for_version("")])
    assert [type(result) for result in results] == [VersionNotLoaded, WireResponse, WireResponse]


@in_loop
async def test_a_quick_default_version_runs_on_the_event_loop_whether_or_not_it_is_named() -> None:
    threads: list[int] = []

    def function(rows: Any) -> Any:
        threads.append(threading.get_ident())
        return rows[:, :1]

    method = BatchMethod(function, last_used=lambda: ModelRef("sums", "v1"), name="sums", may_block=True)
    for version in ("", "v1", "v2"):
        # Set, because on a loaded machine no call may be quick.
        method._policy.record_warm_up(1, QUICK_S / 100)
        method._policy._pause.clear()
        await method.run([for_version(version)])
    assert [thread == threading.get_ident() for thread in threads] == [True, True, False]
    method.close()


@pytest.mark.parametrize(("left_s", "running"), [(100.0, 1), (LATER, 0)], ids=["call", "warm-up"])
def test_a_call_that_runs_is_a_sign_of_life(left_s: float, running: int, monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeat = Heartbeat()
    monkeypatch.setattr(batch_method, "heartbeat", heartbeat)
    seen: list[int] = []

    def predict(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        seen.append(len(heartbeat._calls))
        raise ValueError

    method = BatchMethod(predict, last_used=lambda: ModelRef("sums", "v1"), name="sums")
    assert sums(method.run_now([request(1, deadline=time.monotonic() + left_s)])) == [PredictionFailed]
    assert seen == [running]
    assert not heartbeat._calls
