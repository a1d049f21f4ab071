"""Reloads over HTTP: access, responses, and failures that change nothing."""

from __future__ import annotations

import pytest

from serving.access.api_keys import hash_of
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.in_process_service import LocalService
from tests.serving.runners.small_runners import INTERNAL_TEXT

PATH = "/v1/models/tabular/reload"
ADMIN = headers("admin")


@pytest.fixture
def locked() -> LocalService:
    return LocalService(api_keys=API_KEYS)


def test_a_reload_needs_an_admin_key() -> None:
    assert LocalService().post(PATH).status_code == 403
    readers_only = LocalService(api_keys=f"a:read:{hash_of('mk_a')}")
    assert readers_only.post(PATH, headers={"X-API-Key": "mk_a"}).status_code == 403


def test_only_an_admin_reloads(locked: LocalService) -> None:
    assert locked.post(PATH).status_code == 401
    assert locked.post(PATH, headers=headers("predict")).status_code == 403
    assert locked.post(PATH, headers=ADMIN).status_code == 200


@pytest.mark.parametrize("body", [None, {}, {"version": None}])
def test_without_a_version_the_configured_one_is_served(locked: LocalService, body: object) -> None:
    locked.table.version = "v0"
    answer = locked.post(PATH, headers=ADMIN, **({} if body is None else {"json": body}))

    assert answer.status_code == 200
    assert answer.json()["model"] == {"name": "tabular", "version": "v1"}
    assert answer.json()["previous"] == {"name": "tabular", "version": "v0"}


def test_a_rollback_is_the_same_call_and_is_saved(locked: LocalService) -> None:
    assert locked.post(PATH, headers=ADMIN, json={"version": "v0"}).json()["model"]["version"] == "v0"
    assert locked.state.model("tabular").version == "v0"


@pytest.mark.parametrize(
    ("path", "version", "status", "type_", "detail"),
    [
        (PATH, "v9", 404, "not-known", "known: v0, v1"),
        ("/v1/models/other/reload", "v1", 404, "not-known", "served: tabular"),
        (PATH, "cut", 409, "reload-refused", "is missing or cut; version 'v1' remains the default"),
        (PATH, "../../etc", 422, "validation", "should match pattern"),
        (PATH, 7, 422, "validation", "valid string"),
    ],
)
def test_a_refused_reload_says_why_and_changes_nothing(
    locked: LocalService, path: str, version: object, status: int, type_: str, detail: str
) -> None:
    answer = locked.post(path, headers=ADMIN, json={"version": version})

    assert answer.status_code == status
    assert answer.json()["type"] == f"/problems/{type_}"
    assert detail in answer.json()["detail"]
    assert locked.table.version == "v1"
    assert locked.state.models() == {}


def test_an_unavailable_runner_is_503(locked: LocalService) -> None:
    locked.table.is_gone = True
    answer = locked.post(PATH, headers=ADMIN)

    assert answer.status_code == 503
    assert INTERNAL_TEXT not in answer.text
