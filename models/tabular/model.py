"""A tabular model on ONNX Runtime: encoded rows in, probabilities or estimates out.

The input is one numeric array per batch; `models.tabular.row_encoder` defines its encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactInvalid, InvalidInput
from models.onnx_session import INPUT_NAME, OUTPUT_NAME, open_session, run_session
from models.store.artifacts import Artifact
from models.tabular.row_encoder import RowEncoder

if TYPE_CHECKING:
    import onnxruntime

MODEL_FILE = "model.onnx"

TASKS = ("tabular-classification", "tabular-regression")


class TabularModel:
    """A predictor of batches of encoded rows. Thread-safe, as sessions of ONNX Runtime are."""

    def __init__(self, artifact: Artifact, session: onnxruntime.InferenceSession) -> None:
        self.artifact = artifact
        self._session = session
        self._columns = len(artifact.card.inputs)

    @classmethod
    def load(cls, artifact: Artifact, *, threads: int | None = None) -> Self:
        """Load the model of an artifact. `threads` is the number of threads within one batch, 1 by default.

        Raise ArtifactInvalid when the artifact is not tabular or its graph does not match its card.
        """
        card = artifact.card
        if card.task not in TASKS:
            expected = " or ".join(TASKS)
            raise ArtifactInvalid(f"artifact '{artifact.tag}' has the task '{card.task}'; expected: {expected}")
        try:
            session = open_session(artifact.folder / MODEL_FILE, threads=threads)
        except Exception as error:  # ONNX Runtime's errors have no common base but Exception
            raise ArtifactInvalid(f"{MODEL_FILE} of artifact '{artifact.tag}' cannot be loaded: {error}") from error
        columns, outputs = _widths(session)
        if columns != len(card.inputs) or outputs != max(len(card.classes), 1):
            raise ArtifactInvalid(
                f"{MODEL_FILE} of artifact '{artifact.tag}' has {columns} input columns and {outputs} output columns; "
                f"its card has {len(card.inputs)} inputs and {len(card.classes)} classes"
            )
        return cls(artifact, session)

    def predict(self, rows: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return probabilities of the card's classes in their order, float32 (N, K), or estimates, float32 (N, 1).

        `rows` is (N, F), the output of RowEncoder. Raise InvalidInput for another shape.
        """
        if rows.ndim != 2 or rows.shape[1] != self._columns or not len(rows):
            raise InvalidInput(f"rows have the shape {rows.shape}; expected: (N, {self._columns})")
        return run_session(self._session, np.ascontiguousarray(rows, dtype=np.float32))

    def example(self) -> NDArray[np.float32]:
        """Return the encoded row of the card's examples, shape (1, F)."""
        inputs = self.artifact.card.inputs
        return RowEncoder.for_columns(inputs).encode([{column.name: column.example for column in inputs}])


def _widths(session: onnxruntime.InferenceSession) -> tuple[object, object]:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [node.name for node in inputs] != [INPUT_NAME] or [node.name for node in outputs] != [OUTPUT_NAME]:
        return None, None
    return inputs[0].shape[-1], outputs[0].shape[-1]
