"""What the Open Inference Protocol needs of a served model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from models.card import Card
from serving.http.requests.json_bounds import JsonBounds
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata
from serving.runners.interface import Runner


@dataclass(frozen=True, slots=True)
class InferenceModel:
    """One served model. `card` and `answering` take and return versions; the empty version is the default one."""

    alias: str
    runner: Runner
    card: Callable[..., Card]
    answering: Callable[[], Sequence[str]]
    tensors: Callable[[Card], tuple[list[TensorMetadata], list[TensorMetadata]]]
    infer: Callable[[DecodedRequest], Awaitable[Inferred]]
    description: str
    bounds: Callable[[], JsonBounds]
    # Examples of the body and of one output of a request.
    example: Callable[[], tuple[dict[str, Any], dict[str, Any]]]
