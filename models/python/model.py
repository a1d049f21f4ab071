"""A model that is a user-defined class, at serving time.

Its artifact holds weights and a card. The card names the class, whose code ships with the service.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self

from models.card import Task
from models.errors import ArtifactInvalid, InvalidInput, PredictionFailed, text_of
from models.python.peers import Ask, Peers
from models.python.signature import is_same_schema, signature_of
from models.python.user_class import UserClass
from models.store.artifacts import Artifact
from models.user_code import import_class

TASK: Final[Task] = "python"
# The folder of the weights in the artifact, which `load` gets.
WEIGHTS: Final = "weights"
# The members of a row and of a result between gateway and runner, which send objects.
INSTANCE, PREDICTION = "instance", "prediction"


class PythonModel:
    """Answers a batch of rows, each of any JSON. Safe to use from several threads."""

    # The class may run an event loop, or take long once: its calls run in a thread, however quick they were.
    may_block_loop: ClassVar[bool] = False

    def __init__(self, artifact: Artifact, answering: UserClass, ask: Ask | None = None) -> None:
        self.artifact = artifact
        self._answering = answering
        self._ask = ask

    @classmethod
    def load(cls, artifact: Artifact, ask: Ask | None = None) -> Self:
        """Import the class, and have it load the weights. `ask` asks other models.

        Raises ArtifactInvalid when the artifact is of another task, the class is not there, or its types are not those
        of the artifact.
        """
        code = artifact.card.code
        if artifact.card.task != TASK or code is None:
            raise ArtifactInvalid(f"artifact '{artifact.tag}' is of task '{artifact.card.task}', not a class of Python")
        found = import_class(code.reference)
        signature = signature_of(found)
        for part, saved, present in (
            ("input", code.input, signature.input_schema),
            ("output", code.output, signature.output_schema),
        ):
            if not is_same_schema(saved, present):
                raise ArtifactInvalid(
                    f"the {part} type of class '{code.reference}' is another than when artifact '{artifact.tag}' was "
                    f"saved; run: python -m training.python --class {code.reference} --name {artifact.name}"
                )
        try:
            peers = Peers(code.uses, ask or _ask_nothing) if code.uses else None
            return cls(artifact, UserClass(found, signature, artifact.folder / WEIGHTS, peers), ask)
        except ArtifactInvalid:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {text_of(error)}"
            raise ArtifactInvalid(
                f"class '{code.reference}' could not load artifact '{artifact.tag}': {reason}"
            ) from error

    @property
    def reference(self) -> str:
        """The class, as `package.module:Class`."""
        code = self.artifact.card.code
        return code.reference if code is not None else ""

    def renew(self) -> None:
        """Replace the instance by one of the code that is imported now, once that has answered its example.

        Raises as `load` and `predict`; then nothing has changed.
        """
        new = type(self).load(self.artifact, self._ask)
        new.predict(new.example())
        self._answering = new._answering

    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:  # Any: JSON
        """Return `{"prediction": ...}` for each row `{"instance": ...}`.

        Raises InvalidInput with the location `(row, ...)`, what the class raises, and PredictionFailed for an invalid
        result.
        """
        if not rows or not all(INSTANCE in row for row in rows):
            raise InvalidInput(f"a batch has rows with the member '{INSTANCE}'")
        return [{PREDICTION: each} for each in self._answering.predict([row[INSTANCE] for row in rows])]

    def example(self) -> list[dict[str, Any]]:  # Any: JSON
        """Return the row of the card's example, for warm-up and probes."""
        code = self.artifact.card.code
        return [{INSTANCE: code.example if code else None}]


def _ask_nothing(name: str, rows: Sequence[Any]) -> list[Any]:  # Any: what models take and return
    raise PredictionFailed(f"model '{name}' cannot be asked here: there is no service with other models")
