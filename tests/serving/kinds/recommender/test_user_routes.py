from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.serving.in_process_service import LocalService


def test_etag_gives_304(local_service: LocalService) -> None:
    path = "/v1/users/alice/recommendations?n=3"
    first = local_service.get(path)

    assert first.headers["cache-control"] == "private, no-cache"
    assert [item["item_id"] for item in first.json()["items"]] == ["20", "27", "34"]
    assert "inference_time_ms" not in first.json()
    again = local_service.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_max_age_is_a_setting() -> None:
    response = LocalService(recommendations_max_age_s=30).get("/v1/users/alice/recommendations")
    assert response.headers["cache-control"] == "private, max-age=30"


def test_query_parameters_equal_the_fields_of_the_post_request(local_service: LocalService) -> None:
    path = "/v1/users/alice/recommendations?n=2&filter_seen=false"
    assert [item["item_id"] for item in local_service.get(path).json()["items"]] == ["6", "13"]
    assert local_service.get("/v1/users/alice/recommendations?model=item-knn").json()["algorithm"] == "item-knn"


def test_an_unknown_user_gets_popular_items_or_an_error(local_service: LocalService) -> None:
    path = "/v1/users/nobody/recommendations"
    assert local_service.get(path).json()["reason"] == "unknown_user"
    refused = local_service.get(f"{path}?unknown_user=error")
    assert refused.status_code == 404
    assert refused.json()["errors"][0]["location"] == ["path", "user_id"]


def test_unknown_user_is_an_error_for_every_algorithm(local_service: LocalService) -> None:
    path = "/v1/users/nobody/recommendations?model=popular"
    assert local_service.get(path).json()["reason"] == "unknown_user"
    assert local_service.get(f"{path}&unknown_user=error").status_code == 404


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("n=0", ["query", "n"]),
        ("n=many", ["query", "n"]),
        ("n=1&n=2", ["query", "n"]),
        ("filter_seen=1", ["query", "filter_seen"]),
        ("colour=red", ["query", "colour"]),
        ("model=none", ["query", "model"]),
    ],
)
def test_invalid_query_parameter_is_located(local_service: LocalService, query: str, location: list[str]) -> None:
    response = local_service.get(f"/v1/users/alice/recommendations?{query}")
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["location"] == location


def test_several_users_keep_their_order(local_service: LocalService) -> None:
    response = local_service.get("/v1/users/recommendations?user_ids=bob,nobody,alice&n=1")
    results = response.json()["results"]
    assert [result["user_id"] for result in results] == ["bob", "nobody", "alice"]
    assert [result["reason"] for result in results] == [None, "unknown_user", None]
    assert response.headers["etag"]


@pytest.mark.parametrize(
    ("users", "ids"),
    [("a%2Cb", ["a,b"]), ("a%2cb,c", ["a,b", "c"]), ("bob,%2C", ["bob", ","]), ("a+b,%20c%26d%3De", ["a b", " c&d=e"]),
     ("%61%252C,gr%C3%B6%C3%9Fe", ["a%2C", "größe"])],
)  # fmt: skip
def test_a_list_is_split_before_it_is_decoded(local_service: LocalService, users: str, ids: list[str]) -> None:
    response = local_service.get(f"/v1/users/recommendations?user_ids={users}&n=1")
    assert [result["user_id"] for result in response.json()["results"]] == ids


@pytest.mark.parametrize("users", ["", "?user_ids=", "?user_ids=,,", "?user_ids=" + ",".join(map(str, range(51)))])
def test_number_of_users_is_limited(local_service: LocalService, users: str) -> None:
    response = local_service.get(f"/v1/users/recommendations{users}")
    assert (response.status_code, response.json()["type"]) == (400, "/problems/bad-query")


def test_limit_of_users_is_a_setting() -> None:
    local_service = LocalService(max_bulk_users=2)
    assert local_service.get("/v1/users/recommendations?user_ids=1,2").status_code == 200
    assert local_service.get("/v1/users/recommendations?user_ids=1,2,3").status_code == 400


@pytest.mark.parametrize("what", ["", "/similar", "/groups"])
def test_an_unknown_user_is_404(local_service: LocalService, what: str) -> None:
    assert local_service.get(f"/v1/users/alice{what}").status_code == 200
    response = local_service.get(f"/v1/users/nobody{what}")
    assert (response.status_code, response.json()["type"]) == (404, "/problems/not-known")


def test_similar_users_by_an_unsupported_algorithm_lists_the_supported_ones(local_service: LocalService) -> None:
    assert local_service.get("/v1/users/alice/similar?n=3").json()["algorithm"] == "user-knn"
    response = local_service.get("/v1/users/alice/similar?model=ease")
    assert response.status_code == 422
    assert "these can: user-knn" in response.json()["detail"]


def test_post_accepts_history_rules_and_explanations(local_service: LocalService) -> None:
    body = {
        "user_id": "new",
        "history": [3, "7"],
        "n": 3,
        "explain": True,
        "deny": {"ids": ["11"]},
        "model": "item-knn",
    }
    answer = local_service.post("/v1/recommendations", json=body).json()
    assert (answer["reason"], answer["algorithm"]) == ("request_history", "item-knn")
    assert "11" not in [item["item_id"] for item in answer["items"]]
    assert {cause["name"] for item in answer["items"] for cause in item["causes"]} <= {"3", "7"}


def test_unsupported_algorithm_is_422_for_one_and_for_several_users(local_service: LocalService) -> None:
    body = {"model": "ease", "user_features": {"gender": "F"}}
    one = local_service.post("/v1/recommendations", json={"user_id": "new", **body})
    many = local_service.post("/v1/recommendations/bulk", json={"user_ids": ["new", "other"], **body})
    for response in (one, many):
        assert response.status_code == 422
        assert "these can: popular" in response.json()["detail"]
        assert response.json()["errors"][0]["location"] == ["body", "model"]


def test_bulk_request_accepts_a_history_per_user(local_service: LocalService) -> None:
    body = {"user_ids": ["new", "other"], "n": 1, "per_user": {"new": {"history": ["3", "7"]}}}
    results = local_service.post("/v1/recommendations/bulk", json=body).json()["results"]
    assert [result["reason"] for result in results] == ["request_history", "unknown_user"]


@pytest.mark.parametrize("user", ["a/b", "/", "a/similar", "%2F", "a/b%2Fc?d", "ü/é", "a/"])
def test_user_id_may_contain_a_slash(local_service: LocalService, user: str) -> None:
    path = f"/v1/users/{quote(user, safe='')}"
    assert local_service.get(f"{path}/recommendations").json()["user_id"] == user
    assert f"no user '{user}' is known" in local_service.get(path).json()["detail"]
