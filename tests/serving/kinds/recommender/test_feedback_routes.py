from __future__ import annotations

from typing import Any

import pytest

from models.errors import FeedbackUnavailable
from serving.access.api_keys import hash_of
from tests.serving.in_process_service import LocalService
from tests.serving.runners.small_runners import INTERNAL_TEXT

EVENT = {"user_id": 7, "item_id": "3", "kind": "like"}


def send(local_service: LocalService, *events: dict[str, Any], **headers: str) -> dict[str, int]:
    response = local_service.post("/v1/feedback", json={"events": list(events)}, headers=headers)
    assert response.status_code == 202, response.text
    counts: dict[str, int] = response.json()
    return counts


def test_events_are_stored_and_counted(local_service: LocalService) -> None:
    timed = {**EVENT, "kind": "rating", "value": 4.5, "time": "2026-01-31T12:00:00+01:00"}
    assert send(local_service, EVENT, timed) == {"accepted": 2, "duplicates": 0}
    events = list(local_service.feedback.events.values())
    assert [(each.user_id, each.item_id, each.kind, each.value) for each in events] == [
        ("7", "3", "like", None),
        ("7", "3", "rating", 4.5),
    ]
    assert events[1].time == 1769857200.0


def test_duplicates_are_detected_by_key_request_or_content(local_service: LocalService) -> None:
    keyed = {**EVENT, "idempotency_key": "a"}
    assert send(local_service, keyed, keyed) == {"accepted": 1, "duplicates": 1}
    timed = {**EVENT, "time": "2026-01-31T12:00:00Z"}
    assert send(local_service, timed, timed, {**timed, "kind": "view"}) == {"accepted": 2, "duplicates": 1}
    assert send(local_service, EVENT, EVENT, **{"Idempotency-Key": "r1"}) == {"accepted": 2, "duplicates": 0}
    assert send(local_service, EVENT, EVENT, **{"Idempotency-Key": "r1"}) == {"accepted": 0, "duplicates": 2}
    assert send(local_service, EVENT)["accepted"] == send(local_service, EVENT)["accepted"] == 1


@pytest.mark.parametrize(
    ("first", "second", "header"),
    [
        ([{**EVENT, "idempotency_key": "k"}], [{**EVENT, "idempotency_key": "k", "item_id": "4"}], None),
        ([{**EVENT, "idempotency_key": "k"}], [EVENT, {**EVENT, "idempotency_key": "k", "value": 2.0}], None),
        ([EVENT, EVENT], [EVENT, {**EVENT, "kind": "view"}], "k"),
        ([EVENT], [EVENT, EVENT], "k"),
        ([EVENT, EVENT], [EVENT], "k"),
        ([{**EVENT, "idempotency_key": "own"}, EVENT], [{**EVENT, "item_id": "4"}], "k"),
        ([{**EVENT, "time": "2026-01-31T12:00:00Z"}], [EVENT], "k"),
    ],
)
def test_other_events_under_a_known_key_are_refused_and_none_is_stored(
    local_service: LocalService, first: list[dict[str, Any]], second: list[dict[str, Any]], header: str | None
) -> None:
    headers = {} if header is None else {"Idempotency-Key": header}
    send(local_service, *first, **headers)
    stored = dict(local_service.feedback.events)

    refused = local_service.post("/v1/feedback", json={"events": second}, headers=headers)

    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/key-reused")
    assert local_service.feedback.events == stored
    assert send(local_service, *first, **headers)["accepted"] == 0


def test_the_same_moment_in_another_zone_is_the_same_event(local_service: LocalService) -> None:
    for time in ("2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00"):
        counts = send(local_service, {**EVENT, "time": time, "idempotency_key": "k"})
    assert counts == {"accepted": 0, "duplicates": 1}


def test_keys_of_different_callers_are_different() -> None:
    shop = LocalService(api_keys=",".join(f"{name}:predict:{hash_of(name)}" for name in ("ann", "bob")))
    keyed = {**EVENT, "idempotency_key": "k"}
    for headers in ({"X-API-Key": "ann"}, {"X-API-Key": "bob"}):
        for sent in ([keyed], [{**EVENT, "user_id": headers["X-API-Key"]}]):
            assert send(shop, *sent, **headers, **{"Idempotency-Key": "r"}) == {"accepted": 1, "duplicates": 0}
            assert send(shop, *sent, **headers, **{"Idempotency-Key": "r"}) == {"accepted": 0, "duplicates": 1}
    assert len(shop.feedback.events) == 4


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
def test_invalid_event_is_located_and_nothing_is_stored(
    local_service: LocalService, change: dict[str, Any], where: str
) -> None:
    response = local_service.post("/v1/feedback", json={"events": [EVENT, {**EVENT, **change}]})
    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == ["body", "events", 1, where]
    assert not local_service.feedback.events


def test_error_messages_use_the_terms_of_the_request(local_service: LocalService) -> None:
    def message(**change: Any) -> str:
        response = local_service.post("/v1/feedback", json={"events": [{**EVENT, **change}]})
        return str(response.json()["errors"][0]["message"])

    assert message(user_id="x" * 257) == "String should have at most 256 characters"
    assert message(time="yesterday") == "should be a time as RFC 3339 writes it, with a time zone"


def test_future_times_are_limited_to_now(local_service: LocalService) -> None:
    send(local_service, {**EVENT, "time": "2999-01-01T00:00:00Z"}, {**EVENT, "kind": "dislike"})
    liked, disliked = local_service.feedback.events.values()
    assert liked.time == disliked.time


def test_number_of_events_is_limited() -> None:
    local_service = LocalService(max_feedback_events=2)
    assert local_service.post("/v1/feedback", json={"events": []}).status_code == 422
    assert local_service.post("/v1/feedback", json={"events": [EVENT] * 3}).status_code == 422
    bad = local_service.post("/v1/feedback", json={"events": [EVENT]}, headers={"Idempotency-Key": "a b"})
    assert bad.json()["errors"][0]["location"] == ["header", "Idempotency-Key"]


def test_unavailable_log_is_503_without_details(local_service: LocalService) -> None:
    local_service.feedback.error = FeedbackUnavailable(INTERNAL_TEXT)
    response = local_service.post("/v1/feedback", json={"events": [EVENT]})
    assert (response.status_code, response.json()["type"]) == (503, "/problems/feedback-unavailable")
    assert response.headers["retry-after"]
    assert INTERNAL_TEXT not in response.text
