"""The Open Inference Protocol as its clients use it: Triton's own, and the bytes that KServe's and MLServer's send."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
import tritonclient.http as triton  # type: ignore[import-untyped]

from tests.serving.http_server import listening
from tests.serving.in_process_service import LocalService

INFER = "/v2/models/recommender/infer"
# kserve 0.21: `InferenceRESTClient.infer` sends `orjson.dumps(InferRequest(...).to_rest()[0])`.
KSERVE = (
    b'{"id":"6bcf11e4-fde4-4029-9d8f-b4999aa63b67","model_name":"recommender",'
    b'"inputs":[{"name":"user_id","shape":[1],"datatype":"BYTES","data":["alice"]}],"outputs":[{"name":"item_id"}]}'
)
# mlserver 1.7: `InferenceRequest(...).model_dump_json()`.
MLSERVER = (
    b'{"id":null,"parameters":{"content_type":"pd","headers":null},"inputs":[{"name":"user_id","shape":[1],'
    b'"datatype":"BYTES","parameters":{"content_type":"str","headers":null},"data":["alice"]}],'
    b'"outputs":[{"name":"item_id","parameters":null}]}'
)
# What people write by hand from the answer of another server.
BY_HAND = (
    b'{"inputs":[{"name":"user_id","shape":[1],"datatype":"BYTES","data":["alice"],"layout":"row"}],'
    b'"outputs":[{"name":"item_id","shape":[1,3],"datatype":"BYTES"}],"model_version":"1"}'
)


@pytest.mark.parametrize("body", [KSERVE, MLSERVER, BY_HAND])
def test_members_of_other_clients_are_ignored(local_service: LocalService, body: bytes) -> None:
    response = local_service.post_json(INFER, body)

    assert response.status_code == 200, response.text
    assert [each["name"] for each in response.json()["outputs"]] == ["item_id"]


def test_our_own_api_still_refuses_unknown_members(local_service: LocalService) -> None:
    response = local_service.post("/v1/recommendations", json={"user_id": "alice", "model_name": "x"})

    assert response.status_code == 422


@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("is_binary", [True, False])
def test_tritons_client_compresses_requests(local_service: LocalService, coding: str | None, is_binary: bool) -> None:
    user = triton.InferInput("user_id", [1], "BYTES")
    user.set_data_from_numpy(np.array([b"alice"], dtype=np.object_), binary_data=is_binary)
    with listening(local_service.edged) as address:
        client = triton.InferenceServerClient(address)
        try:
            result = client.infer("recommender", [user], request_compression_algorithm=coding)
        finally:
            client.close()

    assert result.as_numpy("item_id").size


def failing(local_service: LocalService) -> list[Any]:
    ask = local_service.ask
    return [
        ask("POST", INFER, content=b"{"),
        ask("POST", INFER, json={"inputs": []}),
        ask("POST", INFER, content=b"x", headers={"Content-Encoding": "br"}),
        ask("POST", INFER, content=b"x" * (1 << 21), headers={"Content-Type": "application/json"}),
        ask("POST", "/v2/models/none/infer", json={}),
        ask("GET", "/v2/models/none/versions/1"),
        ask("GET", "/v2?x=1"),
        ask("GET", "/v2/nothing"),
        ask("GET", "/v2/repository/index"),
        ask("POST", "/v2/repository/models/none/load", json={}),
        ask("DELETE", "/v2"),
        ask("PUT", "/v2/health/live"),
        ask("POST", "/v2/images/classify", content=b"", headers={"Content-Type": "text/html"}),
    ]


def test_every_error_below_v2_has_the_member_that_clients_read() -> None:
    for response in failing(LocalService(max_body_bytes=1 << 20)):
        document = orjson.loads(response.content)
        assert response.status_code >= 400
        assert document["error"] == document["detail"] != "", (response.url, document)


def test_other_errors_have_no_such_member(local_service: LocalService) -> None:
    for path in ("/v1/nothing", "/v2x", "/v20/models"):
        assert "error" not in local_service.get(path).json()
