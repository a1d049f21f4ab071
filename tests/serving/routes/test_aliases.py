"""Aliases over HTTP: access, promotion through the gate, what is recorded, and aliases that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.store.alias_file import ALIASES_FILE
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.in_process_service import LocalService

PATH = "/v1/models/tabular/aliases"
CHAMPION = f"{PATH}/champion"
ADMIN = headers("admin")


@pytest.fixture
def locked() -> LocalService:
    return LocalService(api_keys=API_KEYS)


def put(local_service: LocalService, version: str, path: str = CHAMPION, **more: object) -> Any:
    return local_service.ask("PUT", path, headers=ADMIN, json={"version": version, **more})


def aliases_file(local_service: LocalService) -> Path:
    return Path(local_service.settings.state_folder, "models", "tabular", ALIASES_FILE)


def test_only_an_admin_moves_aliases_and_readers_see_them(locked: LocalService) -> None:
    for method in ("PUT", "DELETE"):
        sent: dict[str, Any] = {"json": {"version": "v1"}} if method == "PUT" else {}
        assert locked.ask(method, CHAMPION, **sent).status_code == 401
        assert locked.ask(method, CHAMPION, headers=headers("predict"), **sent).status_code == 403
        assert locked.ask(method, CHAMPION, headers=ADMIN, **sent).status_code == 200
    assert locked.get(PATH, headers=headers("read")).json() == {"name": "tabular", "aliases": []}
    assert LocalService().ask("PUT", CHAMPION, json={"version": "v1"}).status_code == 403


def test_an_alias_is_returned_listed_and_removed_with_its_history(locked: LocalService) -> None:
    created = put(locked, "v1", reason="first").json()
    assert {key: value for key, value in created.items() if key != "history"} == {
        "name": "tabular", "alias": "champion", "version": "v1", "fault": None,
    }  # fmt: skip
    (change,) = created["history"]
    assert change.pop("at").endswith("Z")
    assert change == {
        "version": "v1", "action": "promote", "author": "key:adminer", "reason": "first", "overridden": "",
    }  # fmt: skip
    put(locked, "v2", f"{PATH}/challenger")
    listed = locked.get(PATH, headers=ADMIN).json()["aliases"]
    assert [(each["alias"], each["version"]) for each in listed] == [("challenger", "v2"), ("champion", "v1")]
    assert [
        (each["name"], each["alias"], each["version"])
        for each in locked.get("/v1/models", headers=ADMIN).json()["aliases"]
    ] == [("tabular", "challenger", "v2"), ("tabular", "champion", "v1")]
    left = locked.ask("DELETE", CHAMPION, headers=ADMIN).json()["aliases"]
    assert [each["alias"] for each in left] == ["challenger"]


def test_a_worse_version_is_refused_unless_it_is_forced_with_a_reason(locked: LocalService) -> None:
    put(locked, "v1")
    refused = put(locked, "v0")
    assert refused.status_code == 409
    problem = refused.json()
    assert problem["type"] == "/problems/promotion-refused"
    assert "its accuracy is 0.8000, and that of tabular:v1 is 0.9000: worse by more than 0.02" in problem["detail"]
    assert locked.get(PATH, headers=ADMIN).json()["aliases"][0]["version"] == "v1"
    assert put(locked, "v0", margin=0.15).status_code == 200
    put(locked, "v1")
    forced = put(locked, "v0", force=True, reason="v1 leaks the target").json()
    assert forced["version"] == "v0"
    assert forced["history"][-1]["reason"] == "v1 leaks the target"
    assert forced["history"][-1]["overridden"].startswith("its accuracy is 0.8000")


def test_an_alias_of_a_deleted_version_says_so_and_does_not_hide_the_others(locked: LocalService) -> None:
    put(locked, "v1")
    file = aliases_file(locked)
    file.write_text(file.read_text().replace('"v1"', '"v9"'))
    (alias,) = locked.get(PATH, headers=ADMIN).json()["aliases"]
    assert alias["version"] == "v9"
    assert alias["fault"].startswith("no version 'v9' of artifact 'tabular'")
    listed = locked.get("/v1/models", headers=ADMIN).json()
    assert listed["aliases"][0]["fault"] == alias["fault"]
    assert len(listed["models"]) == 4
    assert "it cannot be compared with the present version" in put(locked, "v1").json()["detail"]


def test_aliases_that_cannot_be_read_are_unavailable_and_stay_as_they_are(locked: LocalService) -> None:
    put(locked, "v1")
    aliases_file(locked).write_text("{")
    responses = (locked.get(PATH, headers=ADMIN), put(locked, "v2"), locked.ask("DELETE", CHAMPION, headers=ADMIN))
    for response in responses:
        assert response.status_code == 503
        assert response.json()["type"] == "/problems/resources-unavailable"
        assert "aliases.json" not in response.text
    assert aliases_file(locked).read_text() == "{"


def test_reload_and_traffic_take_an_alias_for_the_version_that_it_names(locked: LocalService) -> None:
    put(locked, "v2")
    put(locked, "v0", f"{PATH}/old")
    split = {"weights": {"champion": 0.5, "v2": 0.25, "old": 0.25}, "shadow": "old"}
    traffic = locked.ask("PUT", "/v1/models/tabular/traffic", headers=ADMIN, json=split).json()
    assert (traffic["weights"], traffic["shadow"]) == ({"v2": 0.75, "v0": 0.25}, "v0")
    assert locked.state.model("tabular").split.weights == {"v2": 0.75, "v0": 0.25}
    unknown = locked.ask("PUT", "/v1/models/tabular/traffic", headers=ADMIN, json={"shadow": "challenger"})
    assert unknown.status_code == 404
