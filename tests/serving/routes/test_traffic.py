"""Traffic splits over HTTP: access, refusals, the version that each caller gets, and the cost of a shadow."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from models.errors import Overloaded
from serving.observability.metrics import service_metrics
from serving.runners.interface import RunnerResponse
from serving.schemas.traffic import TrafficRequest
from serving.versions.router import MAX_SHADOWS
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.in_process_service import ROW, TABLE_CARD, LocalService, StoredTable

PATH = "/v1/models/tabular/traffic"
ADMIN = headers("admin")
ROWS = {"instances": [ROW]}


@pytest.fixture
def locked() -> LocalService:
    return LocalService(api_keys=API_KEYS)


def put(local_service: LocalService, body: object, path: str = PATH) -> Any:
    return local_service.ask("PUT", path, headers=ADMIN, json=body)


def version_of(local_service: LocalService, **sent: str) -> str:
    answer = local_service.post("/v1/tabular/predict", json=ROWS, headers=headers("predict") | sent)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model"]["version"])


def metric(name: str, **labels: str) -> float:
    service_metrics().flush()
    return service_metrics().registry.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    "body",
    [{"weights": {"v1": 1}}, {"shadow": "v0"}, {"weights": {}, "shadow": "v0"}, {"weights": {"v1": 1}, "shadow": None},
     {}, {"weights": {}}, {"shadow": None}, {"weights": {}, "shadow": None}],
)  # fmt: skip
def test_the_schema_and_the_operation_require_the_same_fields(body: dict[str, Any]) -> None:
    schema = TrafficRequest.model_json_schema()

    is_valid = jsonschema.Draft202012Validator(schema).is_valid(body)

    assert is_valid == (put(LocalService(api_keys=API_KEYS), body).status_code == 200)
    assert is_valid == bool(body.get("weights") or body.get("shadow"))
    # Generators write a class for each option of an `anyOf`, without the fields.
    assert "anyOf" not in schema


def test_only_an_admin_splits_traffic_and_readers_see_it(locked: LocalService) -> None:
    body = {"weights": {"v1": 1.0}}
    for method in ("PUT", "DELETE"):
        sent: dict[str, Any] = {"json": body} if method == "PUT" else {}
        assert locked.ask(method, PATH, **sent).status_code == 401
        assert locked.ask(method, PATH, headers=headers("predict"), **sent).status_code == 403
        assert locked.ask(method, PATH, headers=ADMIN, **sent).status_code == 200
    assert locked.get(PATH, headers=headers("read")).status_code == 200
    assert LocalService().ask("PUT", PATH, json=body).status_code == 403


def test_without_a_split_the_default_version_has_all(locked: LocalService) -> None:
    assert locked.get(PATH, headers=ADMIN).json() == {
        "name": "tabular",
        "weights": {},
        "shadow": None,
        "versions": [{"version": "v1", "roles": ["default"], "share": 1.0, "loaded": True}],
    }


def test_a_split_is_returned_saved_and_reset(locked: LocalService) -> None:
    detail = put(locked, {"weights": {"v1": 0.9, "v0": 0.1, "v2": 0}, "shadow": "v2"}).json()

    assert detail == locked.get(PATH, headers=ADMIN).json()
    assert detail["weights"] == {"v1": 0.9, "v0": 0.1, "v2": 0.0}
    assert [(each["version"], each["roles"], each["share"]) for each in detail["versions"]] == [
        ("v1", ["default", "weighted"], 0.9),
        ("v0", ["weighted"], 0.1),
        ("v2", ["named", "shadow"], 0.0),
    ]
    held = locked.table.held
    assert held == ("v1", "v0", "v2")
    assert locked.state.model("tabular").split == TrafficSplit({"v1": 0.9, "v0": 0.1, "v2": 0.0}, "v2")
    assert locked.ask("DELETE", PATH, headers=ADMIN).json()["weights"] == {}
    assert not locked.table.held
    assert locked.state.model("tabular").split == NO_SPLIT


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"weights": {"v1": 0.9, "v2": 0.2}}, 422, "add up to 1.1"),
        ({"weights": {"v1": 1.5, "v2": -0.5}}, 422, "less than or equal to 1"),
        ({}, 422, "weights or a shadow are required"),
        ({"weights": {"../etc": 1}}, 422, "should match pattern"),
        ({"weights": {"v1": 1}, "shadow": 7}, 422, "valid string"),
        ({"weights": {"v1": "1"}}, 422, "valid number"),
        ({"weights": {"v0": 0.5, "v1": 0.5, "v2": 0, "v3": 0}}, 422, "at most 3"),
        ({"weights": {"v1": 0.5, "v9": 0.5}}, 404, "known: v0, v1"),
        ({"weights": {"v1": 1.0}, "shadow": "v9"}, 404, "known: v0, v1"),
        ({"weights": {"v1": 0.5, "cut": 0.5}}, 409, "is missing or cut; the traffic split is unchanged"),
    ],
)
def test_a_refused_split_says_why_and_changes_nothing(
    locked: LocalService, body: object, status: int, detail: str
) -> None:
    put(locked, {"weights": {"v1": 1.0}, "shadow": "v2"})
    before = locked.get(PATH, headers=ADMIN).json()
    answer = put(locked, body)

    assert answer.status_code == status, answer.text
    assert detail in answer.json()["detail"]
    assert locked.get(PATH, headers=ADMIN).json() == before


def test_an_unknown_model_names_the_known_ones(locked: LocalService) -> None:
    answer = put(locked, {"weights": {"v1": 1}}, "/v1/models/other/traffic")
    assert (answer.status_code, answer.json()["detail"]) == (404, "no model 'other' is served; served: tabular")


def test_versions_with_other_columns_cannot_share_traffic(
    locked: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = replace(TABLE_CARD, inputs=TABLE_CARD.inputs[1:])
    cards = {"v1": TABLE_CARD, "v2": narrow}
    monkeypatch.setattr(locked.artifacts, "read", lambda version: StoredTable(version, cards[version]))
    answer = put(locked, {"weights": {"v1": 0.5, "v2": 0.5}})
    assert answer.status_code == 409
    assert "differ in their inputs (age)" in answer.json()["detail"]
    assert put(locked, {"weights": {"v1": 1, "v2": 0}}).status_code == 200


def test_a_header_selects_the_version_and_an_error_lists_the_served_ones(locked: LocalService) -> None:
    put(locked, {"weights": {"v1": 1.0, "v0": 0.0}})
    assert version_of(locked) == "v1"
    assert version_of(locked, **{"X-Model-Version": "v0"}) == "v0"
    answer = locked.post("/v1/tabular/predict", json=ROWS, headers=headers("predict") | {"X-Model-Version": "v2"})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "version 'v2' of 'tabular' is not served; served: v1, v0"
    assert answer.json()["errors"][0]["location"] == ["header", "X-Model-Version"]


def test_sessions_are_split_by_weight_and_keep_their_version(locked: LocalService) -> None:
    put(locked, {"weights": {"v1": 0.5, "v0": 0.5}})
    split = TrafficSplit({"v1": 0.5, "v0": 0.5})
    for number in range(20):
        cache = {version_of(locked, **{"X-Session-ID": f"s{number}"}) for _ in range(2)}
        assert cache == {split.choose(f"tabular\0session:s{number}")}
    # Without a session the API key identifies the caller, from every address.
    assert {version_of(locked) for _ in range(5)} == {split.choose("tabular\0key:predicter")}


def test_a_caller_without_a_key_is_identified_by_its_address() -> None:
    local_service = LocalService()
    local_service.table.held = ("v0", "v1")
    local_service.traffic.split = TrafficSplit({"v1": 0.5, "v0": 0.5})
    answers = [local_service.post("/v1/tabular/predict", json=ROWS).json()["model"]["version"] for _ in range(5)]
    assert set(answers) == {TrafficSplit({"v1": 0.5, "v0": 0.5}).choose("tabular\0address:127.0.0.1")}


def test_a_version_that_is_not_loaded_falls_back_to_the_default_one_unless_it_is_named(locked: LocalService) -> None:
    put(locked, {"weights": {"v0": 1.0}})
    locked.table.held = ()
    labels = {"model": "tabular", "version": "v0", "role": "answer", "outcome": "fallback"}
    before = metric("makunouchi_version_requests_total", **labels)
    assert version_of(locked) == "v1"
    assert metric("makunouchi_version_requests_total", **labels) == before + 1
    answer = locked.post("/v1/tabular/predict", json=ROWS, headers=ADMIN | {"X-Model-Version": "v0"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_the_cache_separates_versions() -> None:
    local_service = LocalService(api_keys=API_KEYS, cache_bytes=1 << 20)
    put(local_service, {"weights": {"v1": 1.0, "v0": 0.0}})
    for version, cache in (("v0", "miss"), ("v1", "miss"), ("v0", "hit"), ("v1", "hit")):
        answer = local_service.post("/v1/tabular/predict", json=ROWS, headers=ADMIN | {"X-Model-Version": version})
        assert (answer.headers["X-Cache"], answer.json()["model"]["version"]) == (cache, version)
    unknown = local_service.post("/v1/tabular/predict", json=ROWS, headers=ADMIN | {"X-Model-Version": "v9"})
    assert unknown.status_code == 404


def test_the_inference_protocol_selects_a_version_in_its_path(locked: LocalService) -> None:
    put(locked, {"weights": {"v1": 1.0, "v0": 0.0}})
    document = locked.get("/openapi.json").json()["paths"]["/v2/models/tabular/infer"]["post"]
    example = document["requestBody"]["content"]["application/json"]["examples"]["row"]["value"]
    for version, status in (("v0", 200), ("v1", 200), ("v2", 404)):
        path = f"/v2/models/tabular/versions/{version}"
        answer = locked.post(f"{path}/infer", json=example, headers=ADMIN)
        assert answer.status_code == status, answer.text
        assert locked.get(path, headers=ADMIN).status_code == status
        assert locked.get(f"{path}/ready", headers=ADMIN).status_code == status
        if status == 200:
            assert answer.json()["model_version"] == version
        else:
            assert "served: v1, v0" in answer.json()["error"]
    assert locked.get("/v2/models/tabular", headers=ADMIN).json()["versions"] == ["v1", "v0"]


def shadowed(local_service: LocalService, times: int = 1) -> list[str]:
    """Return the versions that answered, after every shadow call has ended."""

    async def run() -> list[str]:
        async with local_service.client() as client:
            detail = [await client.post("/v1/tabular/predict", json=ROWS, headers=ADMIN) for _ in range(times)]
            await asyncio.gather(*local_service.traffic._shadows, return_exceptions=True)
            return [answer.json()["model"]["version"] for answer in detail]

    return asyncio.run(run())


def test_a_shadow_gets_a_copy_and_is_compared(locked: LocalService) -> None:
    put(locked, {"weights": {"v1": 1.0}, "shadow": "v0"})
    labels = {"model": "tabular", "version": "v0"}
    before = metric("makunouchi_shadow_agreement_count", **labels)
    assert shadowed(locked, 3) == ["v1"] * 3
    assert len(locked.table.calls) == 6
    assert metric("makunouchi_shadow_agreement_count", **labels) == before + 3
    assert metric("makunouchi_version_seconds_count", **labels, role="shadow") >= 3


@pytest.mark.parametrize(("error", "outcome"), [(ValueError("secret"), "error"), (Overloaded("full"), "dropped")])
def test_a_shadow_that_fails_or_is_full_affects_no_request_and_is_counted(
    locked: LocalService,
    error: Exception,
    outcome: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(locked, {"shadow": "v0"})
    predict = locked.table.predict

    async def failing(rows: Any, *, is_low_priority: bool = False, **options: Any) -> RunnerResponse:
        if is_low_priority:
            raise error
        return await predict(rows, **options)

    monkeypatch.setattr(locked.table, "predict", failing)
    labels = {"model": "tabular", "version": "v0", "role": "shadow", "outcome": outcome}
    before = metric("makunouchi_version_requests_total", **labels)
    assert shadowed(locked, 2) == ["v1", "v1"]
    assert metric("makunouchi_version_requests_total", **labels) == before + 2
    assert "secret" not in caplog.text


def test_a_shadow_that_hangs_delays_no_request_and_further_ones_are_dropped(
    locked: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(locked, {"shadow": "v0"})
    predict = locked.table.predict
    hanging: list[asyncio.Event] = []

    async def hang(rows: Any, *, is_low_priority: bool = False, **options: Any) -> RunnerResponse:
        if is_low_priority:
            hanging.append(asyncio.Event())
            await hanging[-1].wait()
        return await predict(rows, **options)

    monkeypatch.setattr(locked.table, "predict", hang)
    labels = {"model": "tabular", "version": "v0", "role": "shadow", "outcome": "dropped"}
    before = metric("makunouchi_version_requests_total", **labels)

    async def run() -> None:
        async with locked.client() as client:
            for _ in range(MAX_SHADOWS + 3):
                answer = await client.post("/v1/tabular/predict", json=ROWS, headers=ADMIN)
                assert answer.json()["model"] == {"name": "tabular", "version": "v1"}
            await asyncio.sleep(0)
            assert len(hanging) == MAX_SHADOWS
            assert metric("makunouchi_version_requests_total", **labels) == before + 3
            locked.traffic.close()
            await asyncio.gather(*locked.traffic._shadows, return_exceptions=True)

    asyncio.run(run())


@pytest.mark.slow
def test_users_of_the_recommender_keep_their_version_with_every_key(locked: LocalService) -> None:
    traffic = locked.recommender_traffic
    split = TrafficSplit({"v1": 0.5, "v2": 0.5})
    traffic.split = split
    for user in ("alice", "bob", "7", "nobody"):
        expected = split.choose(f"recommender\0user:{user}")
        for role in ("predict", "admin"):
            answer = locked.post("/v1/recommendations", json={"user_id": user, "n": 2}, headers=headers(role))
            assert answer.json()["model"]["version"] == expected
        one = locked.get(f"/v1/users/{user}/recommendations", headers=headers("predict"))
        assert one.json()["model"]["version"] == expected
        assert one.headers["Vary"] == "X-Model-Version"
