"""The interface of a form of answers: the numbers of the runner as JSON, as tensors, and in the OpenAPI document."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from models.card import Card
from serving.http.operation import JsonSchema
from serving.open_inference.schemas import TensorMetadata
from serving.open_inference.tensors import Tensor
from serving.versions.shadow_comparison import Comparison

# One predicted row, as JSON.
AnswerRow = dict[str, Any]

# More classes than this are not listed in the schema of the response.
LISTED_CLASSES = 100


class AnswerForm(ABC):
    """The answers of the models of one task, for one card."""

    # The type of the response, and that of one predicted row.
    response: ClassVar[type[BaseModel]]
    row: ClassVar[type[BaseModel]]

    def __init__(self, card: Card) -> None:
        self.card = card

    @abstractmethod
    def rows(self, values: NDArray[np.floating]) -> list[AnswerRow]:
        """Return one JSON object per row of `values` (N, W), which are finite and as wide as the card says."""

    @abstractmethod
    def example(self) -> AnswerRow:
        """Return an example of a predicted row."""

    @abstractmethod
    def refine(self, schema: JsonSchema) -> None:
        """Narrow the JSON schema of one predicted row, in place, to what the card allows."""

    @abstractmethod
    def tensors(self) -> list[TensorMetadata]:
        """Return the outputs for the Open Inference Protocol."""

    @abstractmethod
    def outputs(self, rows: Sequence[AnswerRow]) -> list[Tensor]:
        """Return predicted rows as the tensors of `tensors`."""

    def labels(self) -> Sequence[str]:
        """Return the label of each column of the tensor `probabilities`, if there is one."""
        return self.card.classes

    @abstractmethod
    def compare(self, rows: Sequence[AnswerRow], others: Sequence[AnswerRow]) -> Comparison:
        """Compare the answers of two versions to the same rows."""


def estimate(value: float, dtype: np.dtype[Any]) -> float:
    """Return a number with the digits that arithmetic in `dtype` has: more would show its rounding."""
    return float(f"{value:.{7 if dtype == np.float32 else 12}g}")
