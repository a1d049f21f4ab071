"""A text classifier at serving time: texts in, probabilities of the card's classes out."""

from __future__ import annotations

from typing import Any, Self

from models.card import Task
from models.errors import ArtifactInvalid, InvalidInput
from models.store.artifacts import Artifact
from models.text.scorer import TextScorer
from models.text.weights import read_weights

TASK: Task = "text-classification"
# The name of the only input.
TEXT = "text"
PROBABILITIES = "probabilities"


class TextClassifier:
    """Answers a batch of texts. Safe to use from several threads."""

    def __init__(self, artifact: Artifact, scorer: TextScorer) -> None:
        self.artifact = artifact
        self._scorer = scorer

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Load the model of an artifact.

        Raises ArtifactInvalid when the artifact is of another task, or its files are malformed or do not fit its card.
        """
        card = artifact.card
        if card.task != TASK or len(card.classes) < 2:
            raise ArtifactInvalid(f"artifact '{artifact.tag}' is of task '{card.task}', not a text classifier")
        if [column.name for column in card.inputs] != [TEXT]:
            raise ArtifactInvalid(f"the card of artifact '{artifact.tag}' must have one input, '{TEXT}'")
        return cls(artifact, TextScorer(read_weights(artifact.folder, classes=len(card.classes))))

    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:  # Any: JSON, checked here
        """Return `{"probabilities": [...]}` for each row `{"text": ...}`, in the order of `card.classes`.

        An empty text, or one without a known word, is answered from the intercept alone. Raises InvalidInput for no
        rows, and for the first row without a text, with the location `(row, "text")`.
        """
        if not rows:
            raise InvalidInput("no rows")
        texts: list[str] = []
        for position, row in enumerate(rows):
            text = row.get(TEXT)
            if not isinstance(text, str):
                fault = "is missing" if text is None else "has to be text"
                raise InvalidInput(f"'{TEXT}' {fault}", location=(position, TEXT))
            texts.append(text)
        return [{PROBABILITIES: answer} for answer in self._scorer.probabilities(texts).tolist()]

    def example(self) -> list[dict[str, Any]]:  # Any: JSON
        """Return the row that the card's example makes, for warm-up and probes."""
        return [{TEXT: self.artifact.card.inputs[0].example or ""}]
