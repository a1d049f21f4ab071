"""Users and items of a small library: similar users, groups, profiles, search, pages, top items."""

from __future__ import annotations

from typing import Any

import pytest

from models.recommender.online.dispatcher import Dispatcher
from models.recommender.online.recent_events import RecentEvents
from tests.models.recommender import film_library
from tests.models.recommender.film_library import BARE, ITEMS, NAMES, event, genres, seen


@pytest.fixture(scope="module")
def dispatcher() -> Dispatcher:
    return film_library.dispatcher()


def result(dispatcher: Dispatcher, **request: Any) -> Any:
    return dispatcher.answer([request])[0]["found"]


def test_similar_users_share_a_genre(dispatcher: Dispatcher) -> None:
    answer = result(dispatcher, ask="similar_users", user_id="alice", n=5)
    assert answer["algorithm"] == "user-knn"
    assert {NAMES.index(each["user_id"]) % 4 for each in answer["users"]} == {0}
    refused = dispatcher.answer([{"ask": "similar_users", "user_id": "alice", "n": 5, "model": "ease"}])[0]
    assert refused["error"] == "model 'ease' cannot find similar users; these can: user-knn"


def test_a_new_user_is_compared_by_common_items() -> None:
    recent = RecentEvents()
    dispatcher = film_library.dispatcher(recent)
    recent.add([event("fresh", "4"), event("fresh", "8"), event("fresh", "unknown")])
    answer = result(dispatcher, ask="similar_users", user_id="fresh", n=100)
    common = {NAMES[user]: len({3, 7} & set(seen(user))) for user in range(film_library.USERS)}
    expected = {name: count / (2 * len(seen(NAMES.index(name)))) ** 0.5 for name, count in common.items() if count}
    assert answer["algorithm"] == "overlap"
    assert {each["user_id"]: each["score"] for each in answer["users"]} == pytest.approx(expected, rel=1e-5)


def test_the_group_of_the_user_is_first(dispatcher: Dispatcher) -> None:
    groups = result(dispatcher, ask="user_groups", user_id="bob", n=4)["groups"]
    assert (groups[0]["group"], groups[0]["is_member"], groups[0]["members"]) == ("Drama club", True, 20)
    assert groups[0]["score"] > 1.5 > 1 > groups[1]["score"]


def test_the_profile_of_a_user(dispatcher: Dispatcher) -> None:
    profile = result(dispatcher, ask="user", user_id="alice", n=3)
    assert profile["features"] == {"gender": "F", "age": 20}
    assert profile["interactions"] == len(seen(0))
    assert profile["top_items"][0]["rating"] == 5
    assert profile["top_categories"][0]["category"] == "Comedy"
    assert result(dispatcher, ask="user", user_id=BARE, n=3)["features"] is None


@pytest.mark.parametrize("kind", ["user", "user_groups", "similar_users"])
def test_an_unknown_user_is_not_result(dispatcher: Dispatcher, kind: str) -> None:
    answer = dispatcher.answer([{"ask": kind, "user_id": "nobody", "n": 3}])[0]
    assert (answer["error_kind"], answer["location"]) == ("unknown", ["path", "user_id"])


@pytest.mark.parametrize(
    ("query", "item"),
    [("star wrs", "50"), ("STARWARS", "50"), ("les miserables", "51"), ("misérable", "51"), ("godfahter", "52")],
)
def test_search_tolerates_misspellings(dispatcher: Dispatcher, query: str, item: str) -> None:
    assert result(dispatcher, ask="items", query=query)["items"][0]["item_id"] == item


def test_search_filters_and_pages(dispatcher: Dispatcher) -> None:
    page = result(dispatcher, ask="items", category="horror", year_from=1970, year_to=1980, offset=2, limit=3)
    rows = [row for row in range(ITEMS) if "Horror" in genres(row) and row != 5 and 1970 <= 1950 + row % 60 <= 1980]
    assert page["total"] == len(rows)
    assert len(page["items"]) == 3
    counts = [item["interactions"] for item in page["items"]]
    assert counts == sorted(counts, reverse=True)
    assert result(dispatcher, ask="items", query="zzzz qqqq")["total"] == 0


@pytest.mark.parametrize("query", ["", "item"])
def test_events_do_not_move_items_between_pages(query: str) -> None:
    recent = RecentEvents()
    dispatcher = film_library.dispatcher(recent)
    total = result(dispatcher, ask="items", query=query)["total"]
    pages: list[str] = []
    for offset in range(0, total, 10):
        page = result(dispatcher, ask="items", query=query, offset=offset, limit=10)["items"]
        pages += [item["item_id"] for item in page]
        # Make the last item the most popular one.
        last = result(dispatcher, ask="items", query=query, offset=total - 1, limit=1)["items"][0]["item_id"]
        recent.add([event(f"x{offset}.{number}", last) for number in range(200)])
    assert len(pages) == len(set(pages)) == total > 50
    assert result(dispatcher, ask="item", item_id=last)["interactions"] >= 200


def test_items_are_described_and_compared(dispatcher: Dispatcher) -> None:
    item = result(dispatcher, ask="item", item_id="50")
    assert (item["title"], item["year"], item["categories"]) == ("Star Wars (1977)", 1999, ["Drama"])
    similar = result(dispatcher, ask="similar_items", item_id="50", n=3)["items"]
    assert {(int(each["item_id"]) - 1) % 4 for each in similar} == {1}
    assert dispatcher.answer([{"ask": "item", "item_id": "0"}])[0]["error_kind"] == "unknown"


def test_top_items_of_a_window_count_only_its_events(dispatcher: Dispatcher) -> None:
    top = result(dispatcher, ask="top_items", n=100, window_days=3)["items"]
    assert {int(item["item_id"]) - 1 for item in top} == {0, 1, 2}
    assert len(result(dispatcher, ask="top_items", n=100, category="Drama")["items"]) > 20
