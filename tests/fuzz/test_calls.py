"""Fuzz tests of the HTTP operations: never status 500, and every error is a problem document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.corpus import fuzzing_calls, mutated, seeds
from tests.serving.in_process_service import ROW, TABLE_CARD, LocalService

pytestmark = pytest.mark.slow

CALLS = (
    "/v1/tabular/predict",
    "/v1/recommendations",
    "/v1/recommendations/bulk",
    "/v1/images/classify",
    "/v1/feedback",
    "/v2/models/tabular/infer",
)
JSON = {"Content-Type": "application/json"}
# Success, or an error of the client. Never an error of the server.
EXPECTED = {200, 202, 400, 404, 413, 415, 422}


class Caller:
    """A service that many tests call from one event loop."""

    def __init__(self) -> None:
        self.local_service = LocalService()
        self._runner = asyncio.Runner()
        self._client = self.local_service.client()

    def __call__(self, method: str, path: str, **request: Any) -> httpx.Response:
        response = self._runner.run(self._client.request(method, path, **request))
        assert response.status_code in EXPECTED, f"{path}: {response.status_code} {response.text[:300]}"
        if not response.is_success:
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["status"] == response.status_code
        return response

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


@pytest.fixture(scope="module")
def call() -> Iterator[Caller]:
    caller = Caller()
    yield caller
    caller.close()


@pytest.mark.parametrize("name", seeds("json"))
@pytest.mark.parametrize("path", CALLS)
def test_seeds_are_accepted_or_refused(call: Caller, path: str, name: str) -> None:
    call("POST", path, content=seeds("json")[name], headers=JSON)


@pytest.mark.parametrize("path", CALLS)
def test_mutated_bodies_are_accepted_or_refused(call: Caller, path: str) -> None:
    @fuzzing_calls
    @given(mutated("json"))
    def run(body: bytes) -> None:
        call("POST", path, content=body, headers=JSON)

    run()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["alice", "1", "car", "male", 33, 0.5]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("instances", "user_id", "user_ids", "n", "filter_seen", "image", "top_k", "events", "inputs", *ROW, "kind")


@pytest.mark.parametrize("path", CALLS)
def test_any_json_is_accepted_or_refused(call: Caller, path: str) -> None:
    @fuzzing_calls
    @given(
        values
        | st.dictionaries(st.sampled_from(FIELDS), values | st.lists(st.dictionaries(st.sampled_from(FIELDS), values)))
    )
    def run(content: Any) -> None:
        call("POST", path, content=json.dumps(content), headers=JSON)

    run()


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"instances":[', '{"inputs":[{"data":['])
@pytest.mark.parametrize("depth", [10, 100, 127, 128, 129, 200, 255, 256, 1000, 50_000])
def test_deep_nesting_is_refused(call: Caller, opening: str, depth: int) -> None:
    closing = {"[": "]", "{": "}"}
    end = "".join(closing[each] for each in reversed(opening) if each in closing)
    body = opening * depth + "1" + end * depth

    for path in CALLS:
        assert call("POST", path, content=body, headers=JSON).status_code in (400, 413, 422)


@pytest.mark.parametrize("length", [10, 1000, 20_000])
def test_many_unknown_fields_are_refused(call: Caller, length: int) -> None:
    body = orjson.dumps({f"field {number}": number for number in range(length)})

    for path in CALLS:
        response = call("POST", path, content=body, headers=JSON)
        assert response.status_code == 422
        assert len(response.content) < 30_000


@fuzzing_calls
@given(st.sampled_from(["X-Request-ID", "If-None-Match", "Accept", "Accept-Encoding", "Host", "X-Forwarded-Host",
                        "X-Forwarded-For", "Origin", "Range", "Content-Type", "Authorization", "X-API-Key",
                        "X-Request-Timeout", "Cache-Control", "Idempotency-Key", "Traceparent"]),
       st.binary(max_size=60).filter(lambda value: not set(value) & {0, 10, 13}))  # fmt: skip
def test_any_header_is_accepted_or_ignored(call: Caller, name: str, value: bytes) -> None:
    for method, path in (("GET", "/v1/models"), ("GET", "/openapi.json"), ("POST", "/v1/recommendations")):
        headers = {key.encode(): text.encode() for key, text in JSON.items()} | {name.encode(): value}
        body = b'{"user_id": "alice"}' if method == "POST" else b""
        response = call._runner.run(call._client.request(method, path, headers=headers, content=body))
        assert response.status_code in EXPECTED | {304}, response.text[:300]


@fuzzing_calls
@given(st.sampled_from(["/v1/items", "/v1/items/top", "/v1/users/alice", "/v1/users/recommendations",
                        "/v1/models/image/metrics"]),
       st.dictionaries(st.sampled_from(["page_token", "page_size", "query", "n", "user_ids", "filter", "category",
                                        "year_from", "window_days", "model", "version"]),
                       st.text(max_size=40) | st.integers().map(str), max_size=4))  # fmt: skip
def test_any_query_is_accepted_or_refused(call: Caller, path: str, query: dict[str, str]) -> None:
    call("GET", path, params=query)


NAMES = tuple(column.name for column in TABLE_CARD.inputs)
DATATYPES = ("BOOL", "UINT8", "INT64", "FP16", "FP32", "FP64", "BYTES", "BF16")
elements = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.sampled_from(["car", "male", "alice", "", "AA=="])
)


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a tensor with a known or unknown name, whose shape often fits its elements."""
    shape = draw(st.lists(st.integers(0, 3), max_size=3)) or [1]
    count = int(np.prod(shape)) if draw(st.booleans()) else draw(st.integers(0, 4))
    name = draw(st.sampled_from((*NAMES, "user_id", "n", "filter_seen", "image", "nothing")))
    data = draw(st.lists(elements, min_size=count, max_size=count))
    return {"name": name, "datatype": draw(st.sampled_from(DATATYPES)), "shape": shape, "data": data}


@pytest.mark.parametrize("model", ["image", "tabular", "recommender"])
def test_any_tensors_are_accepted_or_refused(call: Caller, model: str) -> None:
    requested = st.lists(tensors(), min_size=1, max_size=8)
    wanted = st.none() | st.lists(
        st.fixed_dictionaries(
            {"name": st.sampled_from(["probabilities", "item_id", "label", "x"])},
            optional={
                "parameters": st.fixed_dictionaries(
                    {"classification": st.integers(-1, 9), "binary_data": st.booleans()}
                )
            },
        ),
        max_size=2,
    )

    @fuzzing_calls
    @given(requested, wanted, st.booleans())
    def run(inputs: list[dict[str, Any]], outputs: Any, is_binary: bool) -> None:
        body = {"inputs": inputs, "outputs": outputs, "parameters": {"binary_data_output": is_binary}}
        body = {name: value for name, value in body.items() if value is not None}
        call("POST", f"/v2/models/{model}/infer", content=json.dumps(body), headers=JSON)

    run()


@st.composite
def rows(draw: st.DrawFn) -> tuple[int, list[dict[str, Any]]]:
    """Draw the tensors of complete, valid rows of the table, and their number."""
    count = draw(st.integers(1, 5))
    column = {
        "age": ("INT64", st.integers(18, 75)),
        "credit amount": ("FP64", st.floats(250, 18424)),
        "sex": ("BYTES", st.sampled_from(["female", "male"])),
        "purpose": ("BYTES", st.text(max_size=9)),
        "class": ("BOOL", st.booleans()),
        "saving.accounts": ("BYTES", st.sampled_from(["little", "rich", None, ""])),
        "größe": ("FP64", st.none() | st.floats(-1e6, 1e6)),
    }
    shape = [count, 1] if draw(st.booleans()) else [count]
    columns = [
        {"name": name, "datatype": datatype, "shape": shape,
         "data": draw(st.lists(each, min_size=count, max_size=count))}
        for name, (datatype, each) in column.items()
    ]  # fmt: skip
    return count, draw(st.permutations(columns))


def test_valid_rows_get_the_same_predictions_as_from_the_json_operation(call: Caller) -> None:
    @fuzzing_calls
    @given(rows())
    def run(request: tuple[int, list[dict[str, Any]]]) -> None:
        count, inputs = request
        answer = call("POST", "/v2/models/tabular/infer", content=json.dumps({"inputs": inputs}), headers=JSON)
        assert answer.status_code == 200, answer.text
        outputs = {each["name"]: each for each in answer.json()["outputs"]}
        assert outputs["probabilities"]["shape"] == [count, 2]
        assert np.allclose(np.reshape(outputs["probabilities"]["data"], (count, 2)).sum(axis=1), 1, atol=1e-5)

        instances = [{each["name"]: each["data"][row] for each in inputs} for row in range(count)]
        for instance in instances:
            instance["saving.accounts"] = instance["saving.accounts"] or None
        same = call("POST", "/v1/tabular/predict", content=json.dumps({"instances": instances}), headers=JSON).json()
        assert outputs["prediction"]["data"] == [each["prediction"] for each in same["predictions"]]

    run()
