"""The JSON of the Open Inference Protocol, version 2: requests, responses and metadata."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, FailFast, Field

from serving.open_inference.tensors import MAX_DIMENSIONS, Datatype
from serving.schemas.fields import Request, Response

Name = Annotated[str, Field(min_length=1, max_length=256)]
Parameters = Annotated[
    dict[str, Any] | None, Field(description="Hints of extensions, such as `binary_data_size`. Others are ignored.")
]
Dimension = Annotated[int, Field(ge=0, le=2**31 - 1)]


class InferInput(Request):
    """One input tensor: its elements are in `data`, or behind the JSON where `binary_data_size` says how many bytes."""

    name: Name
    shape: Annotated[list[Dimension], Field(min_length=1, max_length=MAX_DIMENSIONS)]
    datatype: Datatype
    parameters: Parameters = None
    data: list[Any] | None = Field(None, description="Row after row, flat or nested. A file is text in base64 here.")


class InferWanted(Request):
    """One requested output."""

    name: Name
    parameters: Parameters = None


class InferRequest(Request):
    """Tensors to infer from (Open Inference Protocol)."""

    id: str | None = Field(None, max_length=256, description="Comes back with the answer.")
    parameters: Parameters = None
    inputs: Annotated[list[InferInput], FailFast(), Field(min_length=1, max_length=1000)]
    outputs: Annotated[list[InferWanted], Field(max_length=1000)] | None = Field(
        None, description="The outputs that are wanted, each once; all when none is named."
    )


class _Sparse(Response):
    """A response without its null members: clients look for names."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)


class InferOutput(_Sparse):
    """One output tensor."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = Field(None, description="Row after row, flat; not there where the elements are bytes.")


class InferAnswer(_Sparse):
    """The outputs (Open Inference Protocol)."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[InferOutput]


class TensorMetadata(Response):
    """One input or output of a model. -1 in a shape is any size; the first is always the number of rows."""

    name: str
    datatype: Datatype
    shape: list[int]


def tensor_metadata(name: str, datatype: Datatype, *shape: int) -> TensorMetadata:
    """Return the metadata of a tensor with one row per item; `shape` is that of one row."""
    return TensorMetadata(name=name, datatype=datatype, shape=[-1, *shape])


class ModelMetadata(Response):
    """The metadata of a model (Open Inference Protocol)."""

    name: str
    versions: list[str] = Field(description="The version that answers.")
    platform: str = Field(description="What runs the model, or what it is.")
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(Response):
    """The metadata of this server (Open Inference Protocol)."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(Response):
    """The process answers."""

    live: bool


class ServerReady(Response):
    """Every model can answer."""

    ready: bool


class ModelReady(Response):
    """The model can answer."""

    name: str
    ready: bool
