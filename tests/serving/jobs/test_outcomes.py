"""An item that cannot be answered fails alone, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from models.errors import Overloaded, PredictionFailed
from serving.jobs.outcomes import Answers, ImageAnswers, Outcome, RowAnswers, UserAnswers, each_answered
from serving.jobs.storage.item_file import Item
from tests.serving.event_loop import in_loop
from tests.serving.in_process_service import ROW, LocalService, png
from tests.serving.runners.small_runners import INTERNAL_TEXT


@dataclass
class Spoiled:
    """Answers a batch unless it has one of `bad` in it."""

    bad: set[int]
    asked: list[int] = field(default_factory=list)

    async def __call__(self, items: Sequence[Item]) -> list[Outcome]:
        self.asked.append(len(items))
        if self.bad & {item.head["n"] for item in items}:
            raise PredictionFailed(INTERNAL_TEXT)
        return [Outcome({"status": "ok", "n": item.head["n"]}) for item in items]


def statuses(outcomes: list[Outcome]) -> str:
    return "".join("." if outcome.is_ok else "x" for outcome in outcomes)


@pytest.mark.parametrize("bad", [set(), {0}, {7}, {3, 4}, set(range(8))])
@in_loop
async def test_what_spoils_a_batch_is_found_by_halving(bad: set[int]) -> None:
    ask = Spoiled(bad)

    outcomes = await each_answered([Item({"n": number}) for number in range(8)], ask)

    assert statuses(outcomes) == "".join("x" if number in bad else "." for number in range(8))
    assert [each.content.get("n", number) for number, each in enumerate(outcomes)] == list(range(8))
    assert INTERNAL_TEXT not in str(outcomes)


@in_loop
async def test_what_another_try_may_mend_is_nobody_s_fault() -> None:
    async def ask(items: Sequence[Item]) -> list[Outcome]:
        raise Overloaded("full")

    with pytest.raises(Overloaded):
        await each_answered([Item({})], ask)


@in_loop
async def test_an_item_that_could_not_be_read_is_not_asked() -> None:
    ask = Spoiled(set())
    items = [Item({"fault": "broken"}), Item({"n": 1}), Item({"fault": "large", "kind": "too-large"})]

    outcomes = await each_answered(items, ask)

    assert [outcome.content.get("error", {}).get("status") for outcome in outcomes] == [422, None, 413]
    assert ask.asked == [1]


async def answered(answers: Answers, *heads: dict[str, Any], **options: Any) -> list[Outcome]:
    return await answers.answer([Item(head) for head in heads], options)


@in_loop
async def test_rows_that_do_not_fit_fail_alone_and_the_others_are_one_batch() -> None:
    local_service = LocalService()
    rows = [ROW, {**ROW, "age": "x"}, {}, ROW, {**ROW, "sex": "other"}, {**ROW, "more": 1}, ROW]

    outcomes = await answered(RowAnswers(local_service.table_handler, max_rows=64), *({"row": row} for row in rows))

    assert statuses(outcomes) == ".xx.xx."
    assert outcomes[1].content["error"]["detail"] == "age: Input should be a valid number"
    assert outcomes[0].content["prediction"] in ("good", "bad")
    assert local_service.table.calls == [3]


@in_loop
async def test_images_that_cannot_be_read_fail_alone() -> None:
    local_service = LocalService()
    items = [Item({"name": "a"}, png((0, 0, 255))), Item({"name": "b"}, b"no image"), Item({"name": "c"})]

    outcomes = await ImageAnswers(local_service.image_handler).answer(items, {"top_k": 1})

    assert statuses(outcomes) == ".xx"
    assert [each["label"] for each in outcomes[0].content["predictions"]] == ["blue"]
    assert (outcomes[0].model, outcomes[1].model) != (None, None)
    assert outcomes[1].model is None


@in_loop
async def test_users_are_answered_by_what_is_told_of_each() -> None:
    local_service = LocalService()
    heads = ({"user_id": "alice"}, {"user_id": "broken"}, {"user_id": "new", "history": ["5"]})

    outcomes = await answered(UserAnswers(local_service.recommender_handler), *heads, n=2)

    assert statuses(outcomes) == ".x."
    assert len(outcomes[0].content["items"]) == 2
    assert outcomes[2].content["reason"] == "request_history"
    assert INTERNAL_TEXT not in str(outcomes)


@in_loop
async def test_two_lines_of_one_user_keep_what_each_tells() -> None:
    heads = ({"user_id": "new", "history": ["5"]}, {"user_id": "new"})

    outcomes = await answered(UserAnswers(LocalService().recommender_handler), *heads)

    assert [outcome.content["reason"] for outcome in outcomes] == ["request_history", "unknown_user"]
