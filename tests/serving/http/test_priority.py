"""`X-Priority` and keys that are bound to `batch`, at every operation that calls a model."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import tritonclient.http as triton  # type: ignore[import-untyped]
from websockets.sync.client import connect

from models.errors import InvalidInput
from serving.access.api_keys import KeyRing, hash_of, read_keys
from serving.context import PRIORITIES
from serving.http.priority import HEADER, priority_named
from tests.serving.access.credentials import KEYS
from tests.serving.http_server import listening
from tests.serving.in_process_service import ROW, LocalService, png
from tests.serving.open_inference.test_handler import columns
from tests.serving.routes.test_jobs import CSV, TABLE, TABULAR, finished

ROWS = {"instances": [ROW]}
NIGHT = "mk_the-key-of-nightly-work"
BOUND = f"night:predict+batch:{hash_of(NIGHT)},predicter:predict:{hash_of(KEYS['predict'])}"
Requests = list[tuple[str, str, dict[str, Any]]]
REQUESTS: Requests = [
    ("POST", "/v1/tabular/predict", {"json": ROWS}),
    ("POST", "/v1/images/classify", {"files": {"image": ("image.png", png())}}),
    ("POST", "/v1/images/classify-stream", {"files": {"images": ("image.png", png())}}),
    ("POST", "/v1/recommendations", {"json": {"user_id": "alice", "n": 2}}),
    ("POST", "/v1/recommendations/stream", {"json": {"user_ids": ["alice"], "n": 2}}),
    ("GET", "/v1/recommendations/stream?user_ids=alice&n=2", {}),
    ("GET", "/v1/items/1/similar", {}),
    ("POST", "/v2/models/recommender/infer", {"json": {"inputs": [
        {"name": "user_id", "shape": [1], "datatype": "BYTES", "data": ["alice"]}]}}),
    ("POST", "/v2/models/recommender/versions/v1/infer", {"json": {"inputs": [
        {"name": "user_id", "shape": [1], "datatype": "BYTES", "data": ["alice"]}]}}),
]  # fmt: skip


def seen(service: LocalService) -> set[str]:
    """Return the priorities of the calls to the runners, and forget them."""
    found: set[str] = set()
    for runner in (service.images, service.table, service.recommender):
        found |= set(runner.priorities)
        runner.priorities.clear()
    return found


@pytest.mark.parametrize(("method", "path", "request_"), REQUESTS, ids=[path for _, path, _ in REQUESTS])
def test_a_header_sets_the_priority(
    local_service: LocalService, method: str, path: str, request_: dict[str, Any]
) -> None:
    for given, expected in (
        (None, "interactive"),
        ("batch", "batch"),
        ("interactive", "interactive"),
        ("Batch ", "batch"),
    ):
        headers = {} if given is None else {HEADER: given}
        answer = local_service.ask(method, path, headers=headers, **request_)
        assert answer.status_code == 200, answer.text
        assert seen(local_service) == {expected}
    refused = local_service.ask(method, path, headers={HEADER: "urgent"}, **request_)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["location"] == ["header", HEADER]
    assert "unknown priority 'urgent'; known: interactive, batch" in refused.text
    assert seen(local_service) == set()


def test_every_operation_that_calls_a_model_documents_the_header(local_service: LocalService) -> None:
    document = local_service.get("/openapi.json").json()
    described = {
        (path, method): [each for each in operation.get("parameters", ()) if each["name"] == HEADER]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    with_header = {place for place, parameters in described.items() if parameters}
    with_version = {
        (path, method)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if any(each["name"] == "X-Model-Version" for each in operation.get("parameters", ()))
    }
    assert with_version <= with_header
    assert {path for path, _ in with_header - with_version} == {
        f"/v2/models/{model}/versions/{{version}}/infer" for model in ("image", "tabular", "recommender")
    }
    (parameter,) = described["/v1/tabular/predict", "post"]
    assert (parameter["in"], parameter["schema"]["enum"]) == ("header", list(PRIORITIES))


def test_a_bound_key_is_batch_whatever_it_asks_for() -> None:
    service = LocalService(api_keys=BOUND)
    for key, given, expected in (
        (NIGHT, None, "batch"), (NIGHT, "interactive", "batch"), (NIGHT, "batch", "batch"),
        (KEYS["predict"], None, "interactive"), (KEYS["predict"], "batch", "batch"),
    ):  # fmt: skip
        headers = {"X-API-Key": key} | ({} if given is None else {HEADER: given})
        assert service.post("/v1/tabular/predict", json=ROWS, headers=headers).status_code == 200
        assert seen(service) == {expected}
    body = {"inputs": REQUESTS[-1][2]["json"]["inputs"], "parameters": {"priority": 1}}
    assert service.post("/v2/models/recommender/infer", json=body, headers={"X-API-Key": NIGHT}).status_code == 200
    assert seen(service) == {"batch"}


def test_a_bound_key_does_not_use_the_fast_path() -> None:
    from serving.server.fast_path.operations import fast_operations

    service = LocalService(api_keys=BOUND)
    operation, *_ = fast_operations(service.handlers, service.settings, service.guard, None)
    assert operation.admits([(b"x-api-key", KEYS["predict"].encode())])
    assert not operation.admits([(b"x-api-key", NIGHT.encode())])


def test_the_word_batch_binds_a_key_and_needs_a_role() -> None:
    identity = KeyRing(f"night:predict+batch:{hash_of('a')}").find("a")
    assert identity is not None
    assert identity.is_batch
    assert identity.roles == {"predict"}
    with pytest.raises(Exception, match="'batch' is a priority; expected a role before it"):
        read_keys(f"night:batch:{hash_of('a')}")


def test_messages_of_a_websocket_have_the_priority_of_the_handshake_or_their_own(local_service: LocalService) -> None:
    message = {"model": "tabular", "input": ROWS}
    with (
        listening(local_service.edged) as address,
        connect(f"ws://{address}/v1/ws/predict", additional_headers={HEADER: "batch"}) as socket,
    ):
        for number, (more, expected) in enumerate(
            (
                ({}, "batch"),
                ({"priority": "interactive"}, "interactive"),
                ({"priority": "batch"}, "batch"),
                ({}, "batch"),
            )
        ):
            socket.send(json.dumps({"id": number, **message, **more}))
            assert json.loads(socket.recv(timeout=60))["status"] == "ok"
            assert seen(local_service) == {expected}
        socket.send(json.dumps({"id": 9, **message, "priority": "urgent"}))
        error = json.loads(socket.recv(timeout=60))["error"]
        assert (error["status"], error["errors"][0]["location"]) == (422, ["body", "priority"])
        assert "'interactive' or 'batch'" in error["errors"][0]["message"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, "interactive"),
        (1, "interactive"),
        (2, "batch"),
        (9, "batch"),
        ("batch", "batch"),
        ("interactive", "interactive"),
    ],
)
def test_an_inference_request_names_its_priority(local_service: LocalService, given: object, expected: str) -> None:
    body = {**REQUESTS[-1][2]["json"], "parameters": {"priority": given}}
    assert local_service.post("/v2/models/recommender/infer", json=body).status_code == 200
    assert seen(local_service) == {expected}


@pytest.mark.parametrize("given", [-1, 1.5, True, [], "urgent"])
def test_an_inference_request_with_another_priority_is_refused(local_service: LocalService, given: object) -> None:
    body = {**REQUESTS[-1][2]["json"], "parameters": {"priority": given}}
    answer = local_service.post("/v2/models/recommender/infer", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == ["body", "parameters", "priority"]
    assert "interactive" in answer.text


def test_tritons_client_sends_a_number(local_service: LocalService) -> None:
    with listening(local_service.edged) as address:
        client = triton.InferenceServerClient(address)
        for number, expected in ((0, "interactive"), (1, "interactive"), (2, "batch")):
            client.infer("tabular", columns(), priority=number)
            assert seen(local_service) == {expected}
        client.close()


def test_jobs_are_batch() -> None:
    service = LocalService()
    with listening(service.edged) as address, httpx.Client(base_url=f"http://{address}", timeout=120) as client:
        answer = client.post(TABULAR, content=TABLE, headers={**CSV, HEADER: "interactive"})
        assert finished(client, answer)["status"] == "succeeded"
    assert seen(service) == {"batch"}


def test_an_unknown_priority_names_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="known: interactive, batch"):
        priority_named("", location=())
