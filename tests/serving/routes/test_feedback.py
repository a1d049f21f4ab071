from __future__ import annotations

from typing import Any

import pytest

from models.errors import FeedbackUnavailable
from tests.serving.kitchen import Kitchen
from tests.serving.small_runners import INTERNAL_TEXT

EVENT = {"user_id": 7, "item_id": "3", "kind": "like"}


def send(kitchen: Kitchen, *events: dict[str, Any], **headers: str) -> dict[str, int]:
    response = kitchen.post("/v1/feedback", json={"events": list(events)}, headers=headers)
    assert response.status_code == 202, response.text
    counts: dict[str, int] = response.json()
    return counts


def test_events_are_kept_and_counted(kitchen: Kitchen) -> None:
    timed = {**EVENT, "kind": "rating", "value": 4.5, "time": "2026-01-31T12:00:00+01:00"}
    assert send(kitchen, EVENT, timed) == {"accepted": 2, "duplicates": 0}
    kept = list(kitchen.feedback.events.values())
    assert [(each.user_id, each.item_id, each.kind, each.value) for each in kept] == [
        ("7", "3", "like", None),
        ("7", "3", "rating", 4.5),
    ]
    assert kept[1].time == 1769857200.0


def test_the_same_event_is_told_by_its_key_its_request_or_its_content(kitchen: Kitchen) -> None:
    keyed = {**EVENT, "idempotency_key": "a"}
    assert send(kitchen, keyed, keyed) == {"accepted": 1, "duplicates": 1}
    assert send(kitchen, {**keyed, "item_id": "4"})["accepted"] == 0
    timed = {**EVENT, "time": "2026-01-31T12:00:00Z"}
    assert send(kitchen, timed, timed, {**timed, "kind": "view"}) == {"accepted": 2, "duplicates": 1}
    assert send(kitchen, EVENT, EVENT, **{"Idempotency-Key": "r1"}) == {"accepted": 2, "duplicates": 0}
    assert send(kitchen, EVENT, EVENT, **{"Idempotency-Key": "r1"}) == {"accepted": 0, "duplicates": 2}
    assert send(kitchen, EVENT)["accepted"] == send(kitchen, EVENT)["accepted"] == 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"kind": "stare"}, "kind"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-01-31T12:00:00"}, "time"),
        ({"time": 1700000000}, "time"),
        ({"value": "much"}, "value"),
        ({"colour": 1}, "colour"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\0b"}, "user_id"),
        ({"item_id": "\0"}, "item_id"),
    ],
)
def test_a_fault_is_located_and_nothing_is_kept(kitchen: Kitchen, change: dict[str, Any], where: str) -> None:
    response = kitchen.post("/v1/feedback", json={"events": [EVENT, {**EVENT, **change}]})
    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == ["body", "events", 1, where]
    assert not kitchen.feedback.events


def test_what_is_wrong_is_said_in_words_of_the_request(kitchen: Kitchen) -> None:
    def said(**change: Any) -> str:
        response = kitchen.post("/v1/feedback", json={"events": [{**EVENT, **change}]})
        return str(response.json()["errors"][0]["message"])

    assert said(user_id="x" * 257) == "String should have at most 256 characters"
    assert said(time="yesterday") == "should be a time as RFC 3339 writes it, with a time zone"


def test_a_clock_that_is_ahead_decides_nothing(kitchen: Kitchen) -> None:
    send(kitchen, {**EVENT, "time": "2999-01-01T00:00:00Z"}, {**EVENT, "kind": "dislike"})
    liked, disliked = kitchen.feedback.events.values()
    assert liked.time == disliked.time


def test_no_event_and_too_many_are_refused() -> None:
    kitchen = Kitchen(max_feedback_events=2)
    assert kitchen.post("/v1/feedback", json={"events": []}).status_code == 422
    assert kitchen.post("/v1/feedback", json={"events": [EVENT] * 3}).status_code == 422
    bad = kitchen.post("/v1/feedback", json={"events": [EVENT]}, headers={"Idempotency-Key": "a b"})
    assert bad.json()["errors"][0]["location"] == ["header", "Idempotency-Key"]


def test_a_log_that_is_gone_is_503_and_says_nothing_of_it(kitchen: Kitchen) -> None:
    kitchen.feedback.error = FeedbackUnavailable(INTERNAL_TEXT)
    response = kitchen.post("/v1/feedback", json={"events": [EVENT]})
    assert (response.status_code, response.json()["type"]) == (503, "/problems/feedback-unavailable")
    assert response.headers["retry-after"]
    assert INTERNAL_TEXT not in response.text
