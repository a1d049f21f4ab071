"""Liveness, readiness, health, metrics, and the index."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from serving.access import api_keys
from serving.access.api_keys import hash_of
from serving.app import build_app
from serving.process.python_version import python_warnings
from serving.routes.health import Metrics
from tests.live.server import free_port
from tests.serving.event_loop import in_loop
from tests.serving.in_process_service import Catalog, LocalService


def test_livez(local_service: LocalService) -> None:
    local_service.table.is_gone = True

    assert local_service.get("/livez").json() == {"status": "alive"}


def test_readyz_when_every_runner_answers(local_service: LocalService) -> None:
    response = local_service.get("/readyz")

    assert response.status_code == 200
    runners = response.json()["runners"]
    assert sorted(runners) == ["image", "recommender", "tabular"]
    assert runners["image"] == {
        "ready": True,
        "model": {"name": "image", "version": "v1"},
        "detail": "",
        "required": True,
        "replicas": None,
    }


@pytest.mark.parametrize("missing", ["image", "tabular", "recommender"])
def test_readyz_while_a_runner_is_not_available(local_service: LocalService, missing: str) -> None:
    runners = {"image": local_service.images, "tabular": local_service.table, "recommender": local_service.recommender}
    runners[missing].is_gone = True  # type: ignore[attr-defined]  # both kinds have it

    response = local_service.get("/readyz")

    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    problem = response.json()
    assert problem["type"] == "/problems/not-ready"
    assert problem["detail"] == f"not ready: {missing}"
    assert [name for name, runner in problem["runners"].items() if not runner["ready"]] == [missing]

    runners[missing].is_gone = False  # type: ignore[attr-defined]
    assert local_service.get("/readyz").status_code == 200


def test_readyz_while_stopping(local_service: LocalService) -> None:
    stopping = [False]
    app = build_app(
        local_service.handlers,
        Catalog(local_service),
        Metrics(bytes),
        local_service.settings,
        version="0.1.0",
        is_stopping=lambda: stopping[0],
    )
    local_service.edged = app
    assert local_service.get("/readyz").status_code == 200

    stopping[0] = True

    assert local_service.get("/readyz").json()["detail"] == "the service is stopping"


def test_health_answers_200_and_lists_the_fault(local_service: LocalService) -> None:
    assert local_service.get("/health").json()["status"] == "ok"
    local_service.images.is_gone = True

    response = local_service.get("/health")

    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["runners"]["image"] == {
        "ready": False,
        "model": None,
        "detail": "no connection",
        "required": True,
        "replicas": None,
    }
    assert response.json()["service"] == {"name": "makunouchi", "version": "0.1.0"}


def test_a_file_of_keys_that_cannot_be_read_again_degrades_the_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "CHECK_EVERY_S", 0.0)
    line = f"shop:read:{hash_of('mk_shop')}"
    (tmp_path / "keys").write_text(line)
    service = LocalService(api_keys_file=str(tmp_path / "keys"))
    assert service.get("/health").json()["faults"] == {}

    (tmp_path / "keys").write_bytes(line.encode() + b"\xff")
    assert service.get("/v1/models", headers={"X-API-Key": "mk_shop"}).status_code == 200
    health = service.get("/health").json()
    assert health["status"] == "degraded"
    assert health["faults"]["api_keys_file"].startswith("cannot read the file of API keys since ")
    assert str(tmp_path) not in str(health)
    assert service.get("/readyz").status_code == 200

    (tmp_path / "keys").write_text("")
    assert service.get("/v1/models", headers={"X-API-Key": "mk_shop"}).status_code == 401
    assert service.get("/health").json()["status"] == "ok"


def test_faults_of_a_runner_degrade_the_health(local_service: LocalService) -> None:
    local_service.table.faults = {"features": "cannot read the feature tables"}
    health = local_service.get("/health").json()
    assert (health["status"], health["faults"]) == ("degraded", {"features": "cannot read the feature tables"})


def test_health_names_an_outdated_python(local_service: LocalService) -> None:
    assert local_service.get("/health").json()["warnings"] == python_warnings()


def test_metrics_are_returned_unchanged(local_service: LocalService) -> None:
    response = local_service.get("/metrics")

    assert response.content == b"up 1\n"
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_the_index_lists_every_public_operation(local_service: LocalService) -> None:
    index = local_service.get("/v1").json()

    assert index["method"] == "GET"
    assert index["url"] == "http://test/v1"
    listed = {link["operation"]: (link["method"], link["href"]) for link in index["links"]}
    assert listed["classify_image"] == ("POST", "/v1/images/classify")
    assert listed["get_model"] == ("GET", "/v1/models/{name}")
    assert not any(name.startswith("bentoml") for name in listed)


def test_health_names_a_redis_that_does_not_respond() -> None:
    port = free_port()
    local_service = LocalService(
        redis_url=f"redis://127.0.0.1:{port}",
        rate_limit_store="redis",
        rate_limit=5,
        cache_store="redis",
        cache_bytes=1,
    )
    health = local_service.get("/health").json()
    assert health["status"] == "degraded"
    assert health["faults"]["redis_cache"].startswith("cannot call the Redis of the response cache since 20")
    assert health["faults"]["redis_rate_limits"].endswith("; requests are not limited")
    assert str(port) not in str(health["faults"])
    # No call is made for OPEN_S, so that the probe is fast.
    assert local_service.get("/readyz").status_code == 200


def test_health_names_a_state_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    local_service = LocalService(state_folder=str(tmp_path / "state"))

    @in_loop
    async def run() -> None:
        async with local_service.app.router.lifespan_context(local_service.app), local_service.client() as client:
            async with asyncio.timeout(120):
                while "jobs" not in (health := (await client.get("/health")).json())["faults"]:
                    await asyncio.sleep(0.01)
            assert health["status"] == "degraded"
            assert health["faults"]["jobs"].startswith("cannot use the database and the files of the jobs since")
            assert str(tmp_path) not in str(health)

    run()
