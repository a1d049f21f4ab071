"""Responses that only their caller may see are not stored by shared caches."""

from __future__ import annotations

import pytest

from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.in_process_service import LocalService

USERS = "/v1/users/alice"


@pytest.mark.parametrize(
    "path",
    ["/v1/jobs", USERS, f"{USERS}/recommendations", f"{USERS}/similar", f"{USERS}/groups"],
)
def test_responses_of_one_caller_are_private_without_keys_too(local_service: LocalService, path: str) -> None:
    response = local_service.get(path)

    assert response.status_code == 200
    assert response.headers["cache-control"] == "private, no-cache"


def test_responses_for_everybody_may_be_stored(local_service: LocalService) -> None:
    assert local_service.get("/v1/models").headers["cache-control"] == "no-cache"


def test_every_response_that_requires_a_key_is_private() -> None:
    service = LocalService(api_keys=API_KEYS, docs_access="read", probes_access="read")
    operations = service.get("/openapi.json", headers=headers("admin")).json()["paths"]
    values = {"name": "tabular", "job_id": "0" * 32, "user_id": "alice", "item_id": "50", "slug": "validation"}
    checked = 0
    for path in [
        "/",
        "/redoc",
        "/openapi.json",
        "/ui/swagger.js",
        *(p for p, each in operations.items() if "get" in each),
    ]:
        for name, value in {**values, "model_name": "tabular", "version": "v1", "param": "seed"}.items():
            path = path.replace(f"{{{name}}}", value)
        control = service.get(path, headers=headers("admin")).headers.get("cache-control", "")
        assert "private" in control or "no-store" in control, (path, control)
        checked += 1
    assert checked > 20
