"""Tests of the users of a recommendation job."""

from __future__ import annotations

from serving.jobs.storage.item_file import JobItem
from serving.kinds.recommender.jobs import UserProcessor
from tests.serving.event_loop import in_loop
from tests.serving.in_process_service import LocalService
from tests.serving.jobs.job_fixtures import statuses
from tests.serving.runners.small_runners import INTERNAL_TEXT


@in_loop
async def test_users_get_recommendations_for_their_history() -> None:
    local_service = LocalService()
    heads = ({"user_id": "alice"}, {"user_id": "broken"}, {"user_id": "new", "history": ["5"]})

    outcomes = await UserProcessor(local_service.recommender_handler).process(
        [JobItem(head) for head in heads], {"n": 2}
    )

    assert statuses(outcomes) == ".x."
    assert len(outcomes[0].content["items"]) == 2
    assert outcomes[2].content["reason"] == "request_history"
    assert INTERNAL_TEXT not in str(outcomes)


@in_loop
async def test_repeated_user_keeps_the_history_of_each_line() -> None:
    heads = ({"user_id": "new", "history": ["5"]}, {"user_id": "new"})

    outcomes = await UserProcessor(LocalService().recommender_handler).process([JobItem(head) for head in heads], {})

    assert [outcome.content["reason"] for outcome in outcomes] == ["request_history", "unknown_user"]
