"""Tests of the rows of a tabular job."""

from __future__ import annotations

from serving.jobs.storage.item_file import JobItem
from serving.kinds.tabular.jobs import RowProcessor
from tests.serving.event_loop import in_loop
from tests.serving.in_process_service import ROW, LocalService
from tests.serving.jobs.job_fixtures import statuses


@in_loop
async def test_invalid_rows_fail_alone_and_the_others_are_one_batch() -> None:
    local_service = LocalService()
    rows = [ROW, {**ROW, "age": "x"}, {}, ROW, {**ROW, "sex": "other"}, {**ROW, "more": 1}, ROW]

    processor = RowProcessor(local_service.table_handler, max_rows=64)
    outcomes = await processor.process([JobItem({"row": row}) for row in rows], {})

    assert statuses(outcomes) == ".xx.xx."
    assert outcomes[1].content["error"]["detail"] == "age: Input should be a valid number"
    assert outcomes[0].content["prediction"] in ("good", "bad")
    assert local_service.table.calls == [3]


@in_loop
async def test_a_row_of_far_too_many_fields_fails_before_its_validation() -> None:
    local_service = LocalService()
    rows = [ROW, {**ROW, **{f"a{number}": 0 for number in range(1000)}}]

    processor = RowProcessor(local_service.table_handler, max_rows=64)
    outcomes = await processor.process([JobItem({"row": row}) for row in rows], {})

    assert statuses(outcomes) == ".x"
    assert outcomes[1].content["error"]["detail"] == "the row has more than 256 fields"
