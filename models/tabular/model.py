"""A tabular model on ONNX Runtime: encoded rows in, numbers such as probabilities or estimates out.

The input is one numeric array per batch; `models.tabular.row_encoder` defines its encoding, and
`models.tabular.answers` the numbers of an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactInvalid, InvalidInput, text_of
from models.onnx_session import INPUT_NAME, OUTPUT_NAME, open_session, run_session
from models.store.artifacts import Artifact
from models.tabular.answers import TASKS, answer_fault, answer_width
from models.tabular.row_encoder import RowEncoder

if TYPE_CHECKING:
    import onnxruntime

MODEL_FILE = "model.onnx"


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
            reason = text_of(error)
            raise ArtifactInvalid(f"{MODEL_FILE} of artifact '{artifact.tag}' cannot be loaded: {reason}") from error
        columns, outputs = _widths(session)
        model = cls(artifact, session)
        if columns != model._columns or outputs != answer_width(card):
            raise ArtifactInvalid(
                f"{MODEL_FILE} of artifact '{artifact.tag}' has {columns} input columns and {outputs} output columns; "
                f"its card has {model._columns} encoded columns and {answer_width(card)} outputs"
            )
        model.check_example()
        return model

    def check_example(self) -> None:
        """Raise ArtifactInvalid unless the answer to the card's example has the shape and the range that it must."""
        try:
            answers = self.predict(self.example())
        except Exception as error:  # ONNX Runtime's errors have no common base but Exception
            reason = text_of(error)
            raise ArtifactInvalid(f"artifact '{self.artifact.tag}' cannot answer its own example: {reason}") from error
        fault = answer_fault(self.artifact.card, answers)
        if fault:
            raise ArtifactInvalid(f"the answer of artifact '{self.artifact.tag}' to its own example {fault}")

    def predict(self, rows: NDArray[np.generic]) -> NDArray[np.floating]:
        """Return the numbers of each row, float32 or float64 (N, W), as `models.tabular.answers` defines them.

        `rows` is the output of RowEncoder. Raise InvalidInput for another shape.
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
