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

# Of the sum of probabilities, for each class: they are float32.
_TOLERANCE = 1e-4

TASKS = ("tabular-classification", "tabular-regression")


class TabularModel:
    """A predictor of batches of encoded rows. Thread-safe, as sessions of ONNX Runtime are."""

    def __init__(self, artifact: Artifact, session: onnxruntime.InferenceSession) -> None:
        self.artifact = artifact
        self._session = session
        self._columns = RowEncoder(artifact.card).width
        # Graphs of earlier recipes take float32.
        self._dtype = np.float64 if session.get_inputs()[0].type == "tensor(double)" else np.float32

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
        model = cls(artifact, session)
        if columns != model._columns or outputs != max(len(card.classes), 1):
            raise ArtifactInvalid(
                f"{MODEL_FILE} of artifact '{artifact.tag}' has {columns} input columns and {outputs} output columns; "
                f"its card has {model._columns} encoded columns and {len(card.classes)} classes"
            )
        model.check_example()
        return model

    def check_example(self) -> None:
        """Raise ArtifactInvalid unless the answer to the card's example has the shape and the range that it must."""
        try:
            answers = self.predict(self.example())
        except Exception as error:  # ONNX Runtime's errors have no common base but Exception
            raise ArtifactInvalid(f"artifact '{self.artifact.tag}' cannot answer its own example: {error}") from error
        classes = len(self.artifact.card.classes)
        fault = ""
        if answers.shape != (1, max(classes, 1)):
            fault = f"has the shape {answers.shape}; expected: (1, {max(classes, 1)})"
        elif not np.isfinite(answers).all():
            fault = "is not finite"
        elif classes and (answers.min() < -_TOLERANCE or abs(float(answers.sum()) - 1.0) > classes * _TOLERANCE):
            fault = "is not a distribution of probabilities: they must be in 0 to 1, and their sum 1"
        if fault:
            raise ArtifactInvalid(f"the answer of artifact '{self.artifact.tag}' to its own example {fault}")

    def predict(self, rows: NDArray[np.generic]) -> NDArray[np.floating]:
        """Return probabilities of the card's classes in their order, float32 (N, K), or estimates, float64 (N, 1).

        `rows` is (N, W), the output of RowEncoder. Raise InvalidInput for another shape. Estimates of earlier recipes
        are float32.
        """
        if rows.ndim != 2 or rows.shape[1] != self._columns or not len(rows):
            raise InvalidInput(f"rows have the shape {rows.shape}; expected: (N, {self._columns})")
        return run_session(self._session, np.ascontiguousarray(rows, dtype=self._dtype))

    def example(self) -> NDArray[np.float64]:
        """Return the encoded row of the card's examples, shape (1, W)."""
        inputs = self.artifact.card.inputs
        return RowEncoder.for_columns(inputs).encode([{column.name: column.example for column in inputs}])


def _widths(session: onnxruntime.InferenceSession) -> tuple[object, object]:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [node.name for node in inputs] != [INPUT_NAME] or [node.name for node in outputs] != [OUTPUT_NAME]:
        return None, None
    return inputs[0].shape[-1], outputs[0].shape[-1]
