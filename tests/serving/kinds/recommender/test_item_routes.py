from __future__ import annotations

from typing import Any

import pytest

from serving.kinds.recommender.items import _token
from serving.schemas.fields import MAX_ID_CHARACTERS, MAX_SAFE_INTEGER
from tests.models.recommender import film_library
from tests.serving.in_process_service import LocalService


def test_items_are_found_in_spite_of_wrong_letters(local_service: LocalService) -> None:
    response = local_service.get("/v1/items", params={"query": "miserables"})
    assert response.json()["items"][0]["title"] == "Les Misérables (1995)"
    assert response.headers["etag"]


def test_pages_follow_each_other_to_the_last(local_service: LocalService) -> None:
    found: list[str] = []
    token: str | None = None
    for _ in range(20):
        params = {"category": "drama", "page_size": 7} | ({"page_token": token} if token else {})
        page = local_service.get("/v1/items", params=params).json()
        found += [item["item_id"] for item in page["items"]]
        token = page["next_page_token"]
        if token is None:
            break
    assert token is None
    assert len(found) == len(set(found)) == page["total"] > 30


@pytest.mark.parametrize("token", ["x", "W10", "WzEsImEiXQ", "é", "bnVsbA", "WzEsMSwiYSJd"])
def test_a_token_of_nothing_is_refused(local_service: LocalService, token: str) -> None:
    response = local_service.get("/v1/items", params={"page_token": token})
    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == ["query", "page_token"]


def test_a_token_goes_with_its_own_question(local_service: LocalService) -> None:
    token = local_service.get("/v1/items?page_size=5&category=drama").json()["next_page_token"]
    assert local_service.get("/v1/items", params={"page_token": token, "category": "horror"}).status_code == 422
    assert local_service.get("/v1/items", params={"page_token": token, "category": "drama"}).status_code == 200


@pytest.mark.parametrize("query", ["", "item"])
def test_a_page_of_another_version_begins_after_the_same_item(query: str) -> None:
    local_service = LocalService()
    every = ids(local_service.get("/v1/items", params={"query": query, "page_size": 100}).json())
    asked: dict[str, str | int] = {"query": query, "page_size": 7}
    first = local_service.get("/v1/items", params=asked).json()
    # What was last of the first hundred is the most popular now, and everything between one place further.
    local_service.recommender.desk = film_library.retrained(every[-1])
    second = local_service.get("/v1/items", params={**asked, "page_token": first["next_page_token"]}).json()
    assert ids(second) == every[7:14]
    third = local_service.get("/v1/items", params={**asked, "page_token": second["next_page_token"]}).json()
    assert ids(third) == every[14:21]


def test_a_page_after_an_item_that_is_gone_begins_at_its_place() -> None:
    local_service = LocalService()
    first = local_service.get("/v1/items", params={"page_size": 7}).json()
    local_service.recommender.desk = film_library.retrained(
        first["items"][0]["item_id"], without=first["items"][-1]["item_id"]
    )
    every = ids(local_service.get("/v1/items", params={"page_size": 100}).json())
    second = local_service.get("/v1/items", params={"page_size": 7, "page_token": first["next_page_token"]}).json()
    assert ids(second) == every[7:14]


@pytest.mark.parametrize("character", ["\x01", "💡", "a"])
def test_a_token_of_the_longest_id_is_taken(local_service: LocalService, character: str) -> None:
    asked: dict[str, str | int | None] = {"query": None, "category": None, "year_from": None, "year_to": None}
    for length in (MAX_ID_CHARACTERS, MAX_ID_CHARACTERS + 1):
        token = _token(character * length, MAX_SAFE_INTEGER, asked)
        assert local_service.get("/v1/items", params={"page_token": token}).status_code == 200


def ids(page: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in page["items"]]


def test_a_catalogue_has_no_end_before_its_last_item(local_service: LocalService) -> None:
    token = _token("none of these", 1_000_000, {"query": None, "category": None, "year_from": None, "year_to": None})
    page = local_service.get("/v1/items", params={"page_token": token})
    assert (page.status_code, page.json()["items"], page.json()["next_page_token"]) == (200, [], None)


def test_years_narrow(local_service: LocalService) -> None:
    items = local_service.get("/v1/items?year_from=1960&year_to=1961&page_size=100").json()["items"]
    assert {item["year"] for item in items} == {1960, 1961}


def test_an_item(local_service: LocalService) -> None:
    item = local_service.get("/v1/items/50").json()
    assert (item["title"], item["features"]["release_year"]) == ("Star Wars (1977)", 1999)
    assert local_service.get("/v1/items/1").json()["title"] is None
    assert local_service.get("/v1/items/nothing").status_code == 404
    assert local_service.get("/v1/items/nothing/similar").status_code == 404


def test_items_alike_by_a_model_that_cannot_lists_who_can(local_service: LocalService) -> None:
    assert len(local_service.get("/v1/items/50/similar?n=4").json()["items"]) == 4
    response = local_service.get("/v1/items/50/similar?model=popular")
    assert response.status_code == 422
    assert "these can: ease, item-knn" in response.json()["detail"]


def test_top_items_of_a_window(local_service: LocalService) -> None:
    assert len(local_service.get("/v1/items/top?window_days=3").json()["items"]) == 3
    assert len(local_service.get("/v1/items/top?category=comedy&n=5").json()["items"]) == 5
    assert local_service.get("/v1/items/top?window_days=0").status_code == 422


@pytest.mark.parametrize("item", ["a%2Fb", "a%2fsimilar"])
def test_an_id_with_a_slash_is_one_step_of_the_path(local_service: LocalService, item: str) -> None:
    named = item.replace("%2F", "/").replace("%2f", "/")
    assert f"no item '{named}'" in local_service.get(f"/v1/items/{item}").json()["detail"]
    assert f"no item '{named}'" in local_service.get(f"/v1/%69tems/{item}/similar").json()["detail"]
    assert local_service.get("/v1/items/a/b").json()["type"] == "/problems/not-found"
