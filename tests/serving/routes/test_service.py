"""Alive, ready, healthy, measured; and what is here."""

from __future__ import annotations

import pytest

from serving.app import build_app
from serving.routes.service import Metrics
from tests.serving.kitchen import Catalog, Kitchen


def test_livez(kitchen: Kitchen) -> None:
    kitchen.table.is_gone = True

    assert kitchen.get("/livez").json() == {"status": "alive"}


def test_readyz_when_every_runner_answers(kitchen: Kitchen) -> None:
    response = kitchen.get("/readyz")

    assert response.status_code == 200
    runners = response.json()["runners"]
    assert sorted(runners) == ["image", "recommender", "tabular"]
    assert runners["image"] == {"ready": True, "model": {"name": "image", "version": "v1"}, "detail": ""}


@pytest.mark.parametrize("gone", ["image", "tabular", "recommender"])
def test_readyz_while_a_runner_is_gone(kitchen: Kitchen, gone: str) -> None:
    runners = {"image": kitchen.images, "tabular": kitchen.table, "recommender": kitchen.recommender}
    runners[gone].is_gone = True  # type: ignore[attr-defined]  # both kinds have it

    response = kitchen.get("/readyz")

    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    problem = response.json()
    assert problem["type"] == "/problems/not-ready"
    assert problem["detail"] == f"not ready: {gone}"
    assert [name for name, runner in problem["runners"].items() if not runner["ready"]] == [gone]

    runners[gone].is_gone = False  # type: ignore[attr-defined]
    assert kitchen.get("/readyz").status_code == 200


def test_readyz_while_stopping(kitchen: Kitchen) -> None:
    stopping = [False]
    app = build_app(kitchen.calls, Catalog(kitchen), Metrics(bytes), version="0.1.0", is_stopping=lambda: stopping[0])
    kitchen.edged = app
    assert kitchen.get("/readyz").status_code == 200

    stopping[0] = True

    assert kitchen.get("/readyz").json()["detail"] == "the service is stopping"


def test_health_tells_what_is_wrong_and_answers_all_the_same(kitchen: Kitchen) -> None:
    assert kitchen.get("/health").json()["status"] == "ok"
    kitchen.images.is_gone = True

    response = kitchen.get("/health")

    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["runners"]["image"] == {"ready": False, "model": None, "detail": "no connection"}
    assert response.json()["service"] == {"name": "makunouchi", "version": "0.1.0"}


def test_metrics_are_passed_on_as_they_are(kitchen: Kitchen) -> None:
    response = kitchen.get("/metrics")

    assert response.content == b"up 1\n"
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_the_index_lists_every_public_operation(kitchen: Kitchen) -> None:
    index = kitchen.get("/v1").json()

    assert index["method"] == "GET"
    assert index["url"] == "http://test/v1"
    listed = {link["operation"]: (link["method"], link["href"]) for link in index["links"]}
    assert listed["classify_image"] == ("POST", "/v1/images/classify")
    assert listed["get_model"] == ("GET", "/v1/models/{name}")
    assert not any(name.startswith("bentoml") for name in listed)
