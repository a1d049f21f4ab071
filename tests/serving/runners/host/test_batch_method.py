"""A batch is answered item by item where one of them spoils it, and a wrong answer is nobody's answer."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import pytest

from models.errors import DeadlineExceeded, InvalidInput, PredictionFailed
from serving.runners.host.batch_method import BatchMethod
from serving.runners.interface import ModelRef
from serving.runners.wire import WireRequest, WireResponse
from tests.serving.event_loop import in_loop
from tests.serving.runners.sum_predictors import MODEL_WORDS, NAN, RAISE, REFUSE, SHORT, TEXT, Sums

LATER = float("inf")


def asked(first: float, rows: int = 1, deadline: float = LATER) -> WireRequest:
    return WireRequest(np.full((rows, 3), first, np.float32), rows, f"id{first}", deadline)


def answering(model: Sums) -> BatchMethod:
    return BatchMethod(model.predict, answered=lambda: ModelRef("sums", "v1"), name="sums")


def kind(error: object) -> type:
    return PredictionFailed if isinstance(error, PredictionFailed) else type(error)


def sums(answers: list[WireResponse | Exception]) -> list[Any]:
    return [each.payload[:, 0].tolist() if isinstance(each, WireResponse) else kind(each) for each in answers]  # type: ignore[call-overload]


def test_one_call_answers_all() -> None:
    model = Sums()
    assert sums(answering(model).answer_now([asked(1), asked(2, rows=2), asked(3)])) == [[3], [6, 6], [9]]
    assert model.calls == [4]


@pytest.mark.parametrize("bad", [RAISE, SHORT, TEXT])
@pytest.mark.parametrize("place", [0, 3, 7])
def test_a_bad_item_fails_alone(bad: float, place: int) -> None:
    model = Sums()
    questions = [asked(value, rows=1 + value % 2) for value in range(8)]
    questions[place] = asked(bad)
    answers = sums(answering(model).answer_now(questions))
    assert answers.pop(place) is PredictionFailed
    del questions[place]
    assert answers == [[3 * float(each.payload[0, 0])] * each.rows for each in questions]  # type: ignore[call-overload]
    # By halves: fewer calls than one by one.
    assert len(model.calls) <= 7


def test_nan_fails_alone_and_nothing_is_asked_twice() -> None:
    model = Sums()
    assert sums(answering(model).answer_now([asked(1), asked(NAN), asked(2)])) == [[3], PredictionFailed, [6]]
    assert model.calls == [3]


def test_an_input_error_reaches_its_own_caller_in_its_own_words() -> None:
    answers = answering(Sums()).answer_now([asked(1), asked(REFUSE)])
    assert sums(answers) == [[3], InvalidInput]
    assert str(answers[1]) == "row is not welcome"


def test_the_models_words_stay_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    (answer,) = answering(Sums()).answer_now([asked(RAISE)])
    assert MODEL_WORDS not in str(answer)
    assert MODEL_WORDS in caplog.text
    assert f"id{RAISE}" in caplog.text


def test_a_late_question_is_not_asked() -> None:
    model = Sums()
    assert sums(answering(model).answer_now([asked(1, deadline=time.monotonic()), asked(2)])) == [DeadlineExceeded, [6]]
    assert model.calls == [1]


def test_all_bad_costs_less_than_twice_as_many_calls() -> None:
    model = Sums()
    answers = sums(answering(model).answer_now([asked(RAISE)] * 16))
    assert answers == [PredictionFailed] * 16
    assert len(model.calls) == 31


def test_one_number_a_row_is_a_column() -> None:
    flat = BatchMethod(lambda rows: rows.sum(axis=1), answered=lambda: ModelRef("a", "b"), name="flat")
    (answer,) = flat.answer_now([asked(2, rows=2)])
    assert isinstance(answer, WireResponse)
    assert answer.payload.shape == (2, 1)  # type: ignore[union-attr]
    assert answer.payload.dtype == np.float32  # type: ignore[union-attr]


def test_json_answers_must_be_as_many_objects() -> None:
    wrongs: list[object] = [[{}], [{}, 1], {}, None]
    for wrong in wrongs:
        method = BatchMethod(partial(_give, wrong), answered=lambda: ModelRef("a", "b"), name="json")
        (answer,) = method.answer_now([WireRequest([{}, {}], 2, "", LATER)])
        assert isinstance(answer, PredictionFailed)


def test_a_coroutine_is_no_batch_method() -> None:
    async def predict(rows: object) -> object:
        return rows

    with pytest.raises(TypeError, match="plain function"):
        BatchMethod(predict, answered=lambda: ModelRef("a", "b"), name="coroutine")


def _give(answer: object, queries: object) -> object:
    return answer


@in_loop
async def test_the_warm_up_tells_the_pace() -> None:
    method = answering(Sums())
    await method.warm_up(asked(1), calls=5)
    assert sums(await method.answer([asked(1), asked(2)])) == [[3], [6]]
    with pytest.raises(PredictionFailed):
        await method.warm_up(asked(RAISE), calls=5)
    method.close()
