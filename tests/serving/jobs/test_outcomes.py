"""A faulty item fails without the other items of its batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from models.errors import Overloaded, PredictionFailed
from serving.jobs.outcomes import Outcome, process_each
from serving.jobs.storage.item_file import JobItem
from tests.serving.event_loop import in_loop
from tests.serving.jobs.job_fixtures import statuses
from tests.serving.runners.small_runners import INTERNAL_TEXT


@dataclass
class Failing:
    """A processor that raises for a batch with one of the numbers in `bad`."""

    bad: set[int]
    sizes: list[int] = field(default_factory=list)

    async def __call__(self, items: Sequence[JobItem]) -> list[Outcome]:
        self.sizes.append(len(items))
        if self.bad & {item.head["n"] for item in items}:
            raise PredictionFailed(INTERNAL_TEXT)
        return [Outcome({"status": "ok", "n": item.head["n"]}) for item in items]


@pytest.mark.parametrize("bad", [set(), {0}, {7}, {3, 4}, set(range(8))])
@in_loop
async def test_faulty_items_are_found_by_bisection(bad: set[int]) -> None:
    process = Failing(bad)

    outcomes = await process_each([JobItem({"n": number}) for number in range(8)], process)

    assert statuses(outcomes) == "".join("x" if number in bad else "." for number in range(8))
    assert [outcome.content.get("n", number) for number, outcome in enumerate(outcomes)] == list(range(8))
    assert INTERNAL_TEXT not in str(outcomes)


@in_loop
async def test_transient_errors_are_raised() -> None:
    async def process(items: Sequence[JobItem]) -> list[Outcome]:
        raise Overloaded("full")

    with pytest.raises(Overloaded):
        await process_each([JobItem({})], process)


@in_loop
async def test_an_item_with_a_fault_is_not_processed() -> None:
    process = Failing(set())
    items = [JobItem({"fault": "broken"}), JobItem({"n": 1}), JobItem({"fault": "large", "kind": "too-large"})]

    outcomes = await process_each(items, process)

    assert [outcome.content.get("error", {}).get("status") for outcome in outcomes] == [422, None, 413]
    assert process.sizes == [1]
