"""Tests of the Open Inference Protocol with Triton's client, JSON by hand, and invalid requests."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton  # type: ignore[import-untyped]
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from models.errors import InvalidInput
from serving.open_inference.codec import HEADER_LENGTH
from serving.open_inference.tensors import Datatype, from_json
from tests.hostile_json import binary_tensors
from tests.serving.http_server import listening
from tests.serving.in_process_service import COLOURS, ROW, LocalService, png
from tests.serving.loop_stalls import post, run_without_stall
from tests.serving.runners.small_runners import INTERNAL_TEXT


@pytest.fixture
def client(local_service: LocalService) -> Iterator[Any]:
    with listening(local_service.edged) as address:
        client = triton.InferenceServerClient(address)
        yield client
        client.close()


def tensor(name: str, values: Any, datatype: str, *, binary: bool = True) -> Any:
    array = np.array(values)
    infer_input = triton.InferInput(name, list(array.shape), datatype)
    infer_input.set_data_from_numpy(array, binary_data=binary)
    return infer_input


def columns(rows: int = 1, *, binary: bool = True) -> list[Any]:
    types = {"age": "INT64", "credit amount": "FP32", "class": "BOOL", "größe": "FP64"}
    dtypes = {"INT64": np.int64, "FP32": np.float32, "BOOL": np.bool_, "FP64": np.float64, "BYTES": np.object_}
    return [
        tensor(
            name, np.array([value] * rows, dtypes[types.get(name, "BYTES")]), types.get(name, "BYTES"), binary=binary
        )
        for name, value in ROW.items()
        if value is not None
    ]


def infer(local_service: LocalService, model: str, *inputs: dict[str, Any], **members: Any) -> Any:
    response = local_service.post(f"/v2/models/{model}/infer", json={"inputs": list(inputs), **members})
    return response.json() | {"status_code": response.status_code}


def test_triton_reads_server_and_model_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    for name in ("image", "tabular", "recommender"):
        assert client.is_model_ready(name)
        assert client.is_model_ready(name, "v1")
        assert not client.is_model_ready(name, "v0")
        metadata = client.get_model_metadata(name)
        assert metadata["versions"] == ["v1"]
        assert metadata["inputs"]
        assert metadata["outputs"]
    assert not client.is_model_ready("other")
    assert client.get_model_metadata("tabular", "v1")["inputs"][0] == {
        "name": "age",
        "datatype": "INT64",
        "shape": [-1],
    }


def test_lost_runner_is_not_ready(local_service: LocalService, client: Any) -> None:
    local_service.images.is_gone = True

    assert not client.is_server_ready()
    assert not client.is_model_ready("image")
    assert client.is_model_ready("tabular")


@pytest.mark.parametrize("binary", [True, False])
def test_triton_gets_equal_classes_for_pixels_and_files(client: Any, binary: bool) -> None:
    pixels = np.zeros((2, 10, 20, 3), np.uint8)
    pixels[0, ..., 0] = 255
    pixels[1, ..., 2] = 255
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "label")]

    of_pixels = client.infer("image", [tensor("image", pixels, "UINT8", binary=binary)], outputs=wanted)
    files = np.array([png((255, 0, 0)), png((0, 0, 255))], np.object_)
    of_files = client.infer("image", [tensor("image", files, "BYTES")], model_version="v1", request_id="mine")

    assert [np.bytes_(each) for each in of_pixels.as_numpy("label")][1] == b"blue"
    assert of_pixels.as_numpy("probabilities").shape == (2, len(COLOURS))
    np.testing.assert_allclose(of_pixels.as_numpy("probabilities"), of_files.as_numpy("probabilities"), atol=1e-5)
    assert of_files.get_response()["id"] == "mine"
    assert of_files.get_response()["model_version"] == "v1"


def test_triton_gets_the_best_classes(client: Any) -> None:
    pixels = np.full((1, 4, 4, 3), (0, 0, 255), np.uint8)
    wanted = [triton.InferRequestedOutput("probabilities", class_count=2)]

    best = client.infer("image", [tensor("image", pixels, "UINT8")], outputs=wanted).as_numpy("probabilities")

    assert best.shape == (1, 2)
    assert best[0][0].decode().endswith(":2:blue")


@pytest.mark.parametrize("binary", [True, False])
def test_triton_predicts_columns(local_service: LocalService, client: Any, binary: bool) -> None:
    answer = client.infer("tabular", columns(3, binary=binary))

    expected = local_service.post("/v1/tabular/predict", json={"instances": [ROW]}).json()["predictions"][0]
    assert answer.as_numpy("prediction").tolist() == [expected["prediction"].encode()] * 3
    assert answer.as_numpy("probabilities")[2].tolist() == pytest.approx(list(expected["probabilities"].values()))


@pytest.mark.parametrize("binary", [True, False])
def test_triton_recommends(client: Any, binary: bool) -> None:
    users = tensor("user_id", np.array(["alice", "bob"], np.object_), "BYTES", binary=binary)

    answer = client.infer("recommender", [users, tensor("n", np.array([3, 5], np.int32), "INT32", binary=binary)])

    assert answer.as_numpy("count").tolist() == [3, 5]
    assert answer.as_numpy("item_id").shape == (2, 5)
    assert answer.as_numpy("item_id")[0].tolist()[3:] == [b"", b""]
    assert (np.diff(answer.as_numpy("score")[1]) <= 0).all()
    assert b"6" not in answer.as_numpy("item_id")[0]


def test_triton_gets_error_messages(local_service: LocalService, client: Any) -> None:
    with pytest.raises(InferenceServerException, match="no model 'other'; known: image, recommender, tabular"):
        client.infer("other", columns())
    with pytest.raises(InferenceServerException, match="version 'v0' of 'tabular' is not served; served: v1"):
        client.infer("tabular", columns(), model_version="v0")
    with pytest.raises(InferenceServerException, match="a tensor 'age' is required"):
        client.infer("tabular", columns()[1:])
    local_service.table.is_gone = True
    with pytest.raises(InferenceServerException) as caught:
        client.infer("tabular", columns())
    assert caught.value.status() == "503"
    assert INTERNAL_TEXT not in str(caught.value)


def test_files_in_json_are_base64(local_service: LocalService) -> None:
    data = [base64.b64encode(png((0, 0, 255))).decode()]
    answer = infer(local_service, "image", {"name": "image", "shape": [1], "datatype": "BYTES", "data": data}, id="7")

    assert answer["id"] == "7"
    assert answer["outputs"][0] == {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["blue"]}


def test_nested_data_and_missing_values_are_read(local_service: LocalService) -> None:
    inputs = [
        {"name": name, "shape": [2, 1], "datatype": datatype, "data": [[value], [value]]}
        for name, datatype, value in (
            ("age", "INT64", 33), ("credit amount", "FP64", 1169), ("sex", "BYTES", "male"),
            ("purpose", "BYTES", "boat"), ("class", "BOOL", True), ("saving.accounts", "BYTES", None),
            ("größe", "FP32", None),
        )
    ]  # fmt: skip

    assert infer(local_service, "tabular", *inputs)["outputs"][0]["shape"] == [2]


AGE = {"name": "age", "shape": [1], "datatype": "INT64", "data": [33]}


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [
        ({"data": [33, 34]}, 422, "2 elements do not fill the shape [1]"),
        ({"data": ["33"]}, 422, "element 0 is not INT64"),
        ({"data": [True]}, 422, "element 0 is not INT64"),
        ({"data": [2**63]}, 422, "element 0 is not INT64"),
        ({"data": [[[[[[[[[33]]]]]]]]]}, 422, "data is nested deeper than 8"),
        ({"data": [33, [34]], "shape": [2]}, 422, "data holds elements beside lists of elements"),
        ({"shape": [-1]}, 422, "Input should be greater than or equal to 0"),
        ({"shape": [1, 1, 1]}, 422, "the shape has to be [1] or [1, 1], that of the first tensor"),
        ({"datatype": "BF16"}, 422, "Input should be 'BOOL'"),
        ({"name": "shoe size"}, 422, "no column 'shoe size'; known: age"),
        ({"data": None}, 422, "Field required"),
        ({"parameters": {"binary_data_size": 8}}, 422, "there must be no data beside it"),
        ({"data": None, "parameters": {"binary_data_size": 8}}, 400, "the body is shorter than its tensors"),
    ],
)
def test_invalid_tensors_are_refused(
    local_service: LocalService, given: dict[str, Any], status: int, message: str
) -> None:
    answer = infer(local_service, "tabular", AGE | given)

    assert answer["status_code"] == status
    assert message in answer["detail"]
    assert answer["error"] == answer["detail"]


@pytest.mark.parametrize(
    ("datatype", "value"), [("INT64", 2**63 - 1), ("UINT64", 2**64 - 1), ("INT8", -128), ("UINT8", 255), ("BOOL", True)]
)
def test_the_largest_integers_are_read_and_larger_ones_refused(datatype: Datatype, value: int) -> None:
    read = from_json("a", datatype, [2], [0 if datatype != "BOOL" else False, value])

    assert read.values.tolist()[1] == value
    for wrong in (value + 1 if value > 0 else value - 1, 1.5, None, "1", 10**400):
        with pytest.raises(InvalidInput, match=f"element 1 is not {datatype}"):
            from_json("a", datatype, [2], [0 if datatype != "BOOL" else False, wrong])


def test_floats_are_read_with_nulls_and_without_infinity() -> None:
    assert from_json("a", "FP16", [3], [1, None, 1e30]).values.tolist() == pytest.approx([1, nan, inf], nan_ok=True)
    for wrong in (inf, nan, True, "1", 10**400, -(10**309)):
        with pytest.raises(InvalidInput, match="element 1 is not FP64"):
            from_json("a", "FP64", [2], [1.0, wrong])


def test_an_output_may_be_named_once(local_service: LocalService) -> None:
    answer = infer(local_service, "tabular", AGE, outputs=[{"name": "probabilities"}, {"name": "probabilities"}])

    assert answer["status_code"] == 422
    assert answer["errors"][0]["location"] == ["body", "outputs", 1, "name"]


@pytest.mark.parametrize(
    ("model", "name", "shape"), [("tabular", "age", [2_000_000]), ("recommender", "user_id", [100_001])]
)
def test_rows_are_counted_before_they_are_read(
    local_service: LocalService, model: str, name: str, shape: list[int]
) -> None:
    datatype, size = ("FP64", 8) if model == "tabular" else ("BYTES", 4)
    body, json_bytes = binary_tensors(datatype, shape[0], bytes(size * shape[0]), name=name)

    path, length = f"/v2/models/{model}/infer", {HEADER_LENGTH: str(json_bytes)}
    status, answer = run_without_stall(
        lambda: post(local_service.app, path, "application/octet-stream", body, **length)
    )

    assert status in (413, 422), answer
    assert b"at most" in answer


@pytest.mark.parametrize(
    ("header", "body", "message"),
    [
        ("x", b"{}", "has to be a number of bytes"),
        ("-1", b"{}", "has to be a number of bytes"),
        ("99", b"{}", "the body has 2 bytes"),
        (None, b"{}trailing", "Invalid JSON"),
        ("len", b"trailing", "the body is longer than its tensors"),
    ],
)
def test_incomplete_binary_body_is_malformed(
    local_service: LocalService, header: str | None, body: bytes, message: str
) -> None:
    head = json.dumps({"inputs": [AGE]}).encode()
    headers = {} if header is None else {HEADER_LENGTH: str(len(head)) if header == "len" else header}
    content = head + body if header == "len" else body

    response = local_service.post("/v2/models/tabular/infer", content=content, headers=headers)

    assert response.status_code == 400
    assert message in response.json()["error"]


@pytest.mark.parametrize("data", [b"\x09\0\0\0cat", b"\x01", b"\x01\0\0\0a\x01\0\0\0b"])
def test_text_elements_with_a_false_length_are_malformed(local_service: LocalService, data: bytes) -> None:
    given = {"name": "user_id", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [given]}).encode()

    response = local_service.post(
        "/v2/models/recommender/infer", content=head + data, headers={HEADER_LENGTH: str(len(head))}
    )

    assert response.status_code == 400


def test_error_locates_the_invalid_image(local_service: LocalService) -> None:
    data = [base64.b64encode(each).decode() for each in (png(), b"no image")]
    answer = infer(local_service, "image", {"name": "image", "shape": [2], "datatype": "BYTES", "data": data})

    assert answer["status_code"] == 415
    assert answer["errors"][0]["location"] == ["body", "inputs", 0, "data", 1]


def test_unknown_category_is_refused(local_service: LocalService) -> None:
    answer = infer(local_service, "tabular", AGE, {"name": "sex", "shape": [1], "datatype": "BYTES", "data": ["x"]})

    assert answer["status_code"] == 422


@pytest.mark.parametrize(
    "option",
    [
        {"name": "n", "shape": [1], "datatype": "INT32", "data": [0]},
        {"name": "n", "shape": [1], "datatype": "INT32", "data": [101]},
        {"name": "n", "shape": [3], "datatype": "INT32", "data": [1, 2, 3]},
        {"name": "n", "shape": [1], "datatype": "FP32", "data": [1.5]},
        {"name": "filter_seen", "shape": [1], "datatype": "INT8", "data": [1]},
        {"name": "colour", "shape": [1], "datatype": "INT8", "data": [1]},
    ],
)
def test_options_of_the_recommender_are_checked(local_service: LocalService, option: dict[str, Any]) -> None:
    users = {"name": "user_id", "shape": [2], "datatype": "BYTES", "data": ["alice", "bob"]}

    assert infer(local_service, "recommender", users, option)["status_code"] == 422
    assert infer(local_service, "recommender", users)["status_code"] == 200
