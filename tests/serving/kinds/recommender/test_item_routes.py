from __future__ import annotations

from typing import Any

import pytest

from models.limits import MAX_ID_CHARACTERS, MAX_SAFE_INTEGER
from serving.kinds.recommender.items import _token
from tests.models.recommender import film_library
from tests.serving.in_process_service import LocalService


def test_search_tolerates_misspellings(local_service: LocalService) -> None:
    response = local_service.get("/v1/items", params={"query": "miserables"})
    assert response.json()["items"][0]["title"] == "Les Misérables (1995)"
    assert response.headers["etag"]


def test_pages_cover_all_items(local_service: LocalService) -> None:
    item_ids: list[str] = []
    token: str | None = None
    for _ in range(20):
        params = {"category": "drama", "page_size": 7} | ({"page_token": token} if token else {})
        page = local_service.get("/v1/items", params=params).json()
        item_ids += [item["item_id"] for item in page["items"]]
        token = page["next_page_token"]
        if token is None:
            break
    assert token is None
    assert len(item_ids) == len(set(item_ids)) == page["total"] > 30


@pytest.mark.parametrize("token", ["x", "W10", "WzEsImEiXQ", "é", "bnVsbA", "WzEsMSwiYSJd"])
def test_invalid_page_token_is_refused(local_service: LocalService, token: str) -> None:
    response = local_service.get("/v1/items", params={"page_token": token})
    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == ["query", "page_token"]


def test_page_token_is_valid_for_its_query_only(local_service: LocalService) -> None:
    token = local_service.get("/v1/items?page_size=5&category=drama").json()["next_page_token"]
    assert local_service.get("/v1/items", params={"page_token": token, "category": "horror"}).status_code == 422
    assert local_service.get("/v1/items", params={"page_token": token, "category": "drama"}).status_code == 200


@pytest.mark.parametrize("query", ["", "item"])
def test_page_of_another_version_starts_after_the_same_item(query: str) -> None:
    local_service = LocalService()
    every = ids(local_service.get("/v1/items", params={"query": query, "page_size": 100}).json())
    params: dict[str, str | int] = {"query": query, "page_size": 7}
    first = local_service.get("/v1/items", params=params).json()
    # The last of the first hundred items is now the most popular, and the items before it move by one.
    local_service.recommender.desk = film_library.retrained(every[-1])
    second = local_service.get("/v1/items", params={**params, "page_token": first["next_page_token"]}).json()
    assert ids(second) == every[7:14]
    third = local_service.get("/v1/items", params={**params, "page_token": second["next_page_token"]}).json()
    assert ids(third) == every[14:21]


def test_page_after_a_removed_item_starts_at_its_position() -> None:
    local_service = LocalService()
    first = local_service.get("/v1/items", params={"page_size": 7}).json()
    local_service.recommender.desk = film_library.retrained(
        first["items"][0]["item_id"], without=first["items"][-1]["item_id"]
    )
    every = ids(local_service.get("/v1/items", params={"page_size": 100}).json())
    second = local_service.get("/v1/items", params={"page_size": 7, "page_token": first["next_page_token"]}).json()
    assert ids(second) == every[7:14]


@pytest.mark.parametrize("character", ["\x01", "💡", "a"])
def test_page_token_with_the_longest_id_is_accepted(local_service: LocalService, character: str) -> None:
    params: dict[str, str | int | None] = {"query": None, "category": None, "year_from": None, "year_to": None}
    for length in (MAX_ID_CHARACTERS, MAX_ID_CHARACTERS + 1):
        token = _token(character * length, MAX_SAFE_INTEGER, params)
        assert local_service.get("/v1/items", params={"page_token": token}).status_code == 200


def ids(page: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in page["items"]]


def test_paging_reaches_the_last_item(local_service: LocalService) -> None:
    token = _token("none of these", 1_000_000, {"query": None, "category": None, "year_from": None, "year_to": None})
    page = local_service.get("/v1/items", params={"page_token": token})
    assert (page.status_code, page.json()["items"], page.json()["next_page_token"]) == (200, [], None)


def test_year_filters(local_service: LocalService) -> None:
    items = local_service.get("/v1/items?year_from=1960&year_to=1961&page_size=100").json()["items"]
    assert {item["year"] for item in items} == {1960, 1961}


def test_an_item(local_service: LocalService) -> None:
    item = local_service.get("/v1/items/50").json()
    assert (item["title"], item["features"]["release_year"]) == ("Star Wars (1977)", 1999)
    assert local_service.get("/v1/items/1").json()["title"] is None
    assert local_service.get("/v1/items/nothing").status_code == 404
    assert local_service.get("/v1/items/nothing/similar").status_code == 404


def test_similar_items_by_an_unsupported_algorithm_lists_the_supported_ones(local_service: LocalService) -> None:
    assert len(local_service.get("/v1/items/50/similar?n=4").json()["items"]) == 4
    response = local_service.get("/v1/items/50/similar?model=popular")
    assert response.status_code == 422
    assert "these can: ease, item-knn" in response.json()["detail"]


def test_top_items_of_a_window(local_service: LocalService) -> None:
    assert len(local_service.get("/v1/items/top?window_days=3").json()["items"]) == 3
    assert len(local_service.get("/v1/items/top?category=comedy&n=5").json()["items"]) == 5
    assert local_service.get("/v1/items/top?window_days=0").status_code == 422


@pytest.mark.parametrize("item", ["a%2Fb", "a%2fsimilar"])
def test_encoded_slash_in_an_id_is_one_path_segment(local_service: LocalService, item: str) -> None:
    named = item.replace("%2F", "/").replace("%2f", "/")
    assert f"no item '{named}'" in local_service.get(f"/v1/items/{item}").json()["detail"]
    assert f"no item '{named}'" in local_service.get(f"/v1/%69tems/{item}/similar").json()["detail"]
    assert local_service.get("/v1/items/a/b").json()["type"] == "/problems/not-found"
