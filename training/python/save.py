"""Save the weights of a class: `python -m training.python --class mymodels.sentiment:Sentiment --weights FOLDER`.

The class loads the weights and answers its example, alone and in a batch, before anything is saved. The artifact holds
the weights and a card with the name of the class and its types; the code ships with the service.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.card import Card, CodeInterface, DataSource
from models.errors import ArtifactError, ArtifactInvalid, InputError, PredictionFailed
from models.python.model import INSTANCE, PREDICTION, TASK, WEIGHTS
from models.python.peers import Peers
from models.python.signature import Signature, signature_of
from models.python.user_class import UserClass
from models.store.artifacts import Artifact
from models.user_code import import_class
from training.promotion import saving_version
from training.python.columns import columns_of
from training.python.example import example_of
from training.python.params import Params, check
from training.python.weights import copy_weights
from training.report import library_versions, step, write_report


def main(params: Params) -> None:
    """Save and print what is next."""
    artifact = save(params)
    code = artifact.card.code
    print(f"saved {artifact.tag}")
    if code is not None:
        if code.uses:
            print(f"  the example is answered when the service starts, with: {', '.join(code.uses)}")
        else:
            print(f"  example: {json.dumps(code.example)} -> {json.dumps(code.example_prediction)}")
    print(f"  serve it: MAKUNOUCHI_PYTHON_MODEL={artifact.name} make serve")


def save(params: Params, *, store: Path | None = None) -> Artifact:
    """Check the class that `params` names, and save its weights into `store`.

    Raises DataInvalid, ArtifactInvalid or PredictionFailed; then nothing is saved.
    """
    check(params)
    with step(f"import {params.class_}"):
        found = import_class(params.class_)
        signature = signature_of(found)
        example = example_of(found, signature, params.example)
    with tempfile.TemporaryDirectory(prefix="makunouchi-weights-") as scratch:
        weights = Path(scratch, WEIGHTS)
        copy_weights(params.weights, weights)
        uses = _uses(found)
        with step("load the weights and answer the example" if not uses else "load the weights"):
            prediction = _answered(found, signature, weights, example)
        card = _card(params, _Checked(found, signature, example, prediction))
        with step("save"), saving_version(card, is_forced=params.promote, store=store) as saved:
            shutil.copytree(weights, saved.folder / WEIGHTS)
            write_report(card, saved.folder)
    return saved.artifact


@dataclass(frozen=True, slots=True)
class _Checked:
    """A class that answers its example."""

    found: type[Any]
    signature: Signature
    example: Any  # Any: JSON
    prediction: Any  # Any: JSON


def _answered(found: type[Any], signature: Signature, weights: Path, example: Any) -> Any:  # Any: JSON
    """Return the result of the example. Raises PredictionFailed when the class fails, alone or with two rows."""
    uses = _uses(found)
    try:
        answering = UserClass(found, signature, weights, Peers(uses, _ask_nothing) if uses else None)
        if uses:
            return None
        (prediction,) = answering.predict([example])
        answering.predict([example, example])
    except (ArtifactError, PredictionFailed, InputError):
        raise
    except Exception as error:
        raise PredictionFailed(f"class '{found.__name__}' failed: {type(error).__name__}: {error}") from error
    return prediction


def _card(params: Params, checked: _Checked) -> Card:
    found, signature = checked.found, checked.signature
    code = CodeInterface(
        params.class_,
        signature.input_schema,
        signature.output_schema,
        example=checked.example,
        example_prediction=checked.prediction,
        is_deterministic=bool(getattr(found, "deterministic", False)),
        uses=_uses(found),
    )
    return Card(
        name=params.name,
        task=TASK,
        algorithm=found.__name__,
        created=datetime.now(UTC),
        inputs=columns_of(code.input, code.example, name=INSTANCE),
        outputs=columns_of(code.output, code.example_prediction, name=PREDICTION),
        metrics={},
        data=DataSource(params.class_, _source_sha256(found), 0),
        description=params.description or (found.__doc__ or "").strip().partition("\n\n")[0],
        libraries=library_versions("pydantic"),
        code=code,
    )


def _uses(found: type[Any]) -> tuple[str, ...]:
    """Return the names of the models that a class asks. Raises ArtifactInvalid."""
    uses = getattr(found, "uses", ())
    if not isinstance(uses, tuple | list) or not all(isinstance(name, str) for name in uses):
        raise ArtifactInvalid(f"`uses` of class '{found.__name__}' has to be names of models, such as (\"churn\",)")
    return tuple(uses)


def _ask_nothing(name: str, rows: Sequence[Any]) -> list[Any]:  # Any: what models take and return
    raise PredictionFailed(f"load asks model '{name}': other models can be asked in predict only")


def _source_sha256(found: type[Any]) -> str:
    """Return the SHA-256 of the file of the class: which code the weights were checked with."""
    try:
        source = inspect.getsourcefile(found)
    except TypeError:
        source = None
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
