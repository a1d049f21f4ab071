"""Metadata of an artifact: task, schema, metrics, lineage. Training writes it, serving reads it.

A card is the file `card.json` in the folder of the weights. It is the only thing that training and serving share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from models.errors import ArtifactInvalid
from models.profile import Profile

CARD_FILE = "card.json"

# What a model does, as its kind names it: "tabular-classification".
Task = str
Scalar = str | int | float | bool | None
Metrics = Mapping[str, float]

# Text that means a boolean (in any case of letters) or a missing value, in training tables and in prediction requests.
# The words for missing values are those of pandas and two of spreadsheets.
BOOLEAN_WORDS: tuple[Mapping[str, bool], ...] = (
    {"no": False, "yes": True},
    {"false": False, "true": True},
    {"n": False, "y": True},
    {"f": False, "t": True},
)
MISSING_WORDS = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"}
    | {"NULL", "NaN", "None", "n/a", "nan", "null", "?", "-"}
)


@dataclass(frozen=True, slots=True)
class Column:
    """One named input or output.

    `kind` is what a client sends: a number, an integer, a boolean, one of `categories`, a date (ISO 8601), or free
    text. `minimum` and `maximum` describe the training data; they are not enforced.
    With `accepts_unknown` a category outside `categories` is served as "none of these"; otherwise it is refused.
    `decimal`, `unit`, `missing_words` and `date_format` tell how the cells of a text table are written: see
    `models.tables.cells`.
    """

    name: str
    kind: Literal["number", "integer", "boolean", "category", "date", "text", "image"]
    description: str = ""
    required: bool = True
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    accepts_unknown: bool = False
    example: Scalar = None
    decimal: str = "."
    unit: str = ""
    missing_words: tuple[str, ...] = ()
    date_format: str = ""


@dataclass(frozen=True, slots=True)
class Parity:
    """The agreement of the serving runtime with the training framework over `rows` inputs.

    `top1_agreement` is a share in 0..1 (classification only); `max_difference` is over all output numbers.
    """

    reference: str
    runtime: str
    rows: int
    max_difference: float
    top1_agreement: float | None = None


@dataclass(frozen=True, slots=True)
class DataSource:
    """The origin of the training data: a name without a local path, its SHA-256, its number of rows."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Held-out rows whose predicted probability p has lower <= p < upper, and their observed share.

    For two classes p is the probability of the second class; for more classes, of the most likely one.
    """

    lower: float
    upper: float
    rows: int
    mean_probability: float
    observed_share: float


@dataclass(frozen=True, slots=True)
class CodeInterface:
    """The class that answers for an artifact, `package.module:Class`, and the JSON schemas of a row and its result.

    The code ships with the service. `example` is a row, as JSON, and `example_prediction` its result. A deterministic
    class has the same result for the same row, which the cache may repeat. `uses` are the models that the class asks.
    """

    reference: str
    input: Mapping[str, Any]  # Any: JSON
    output: Mapping[str, Any]  # Any: JSON
    example: Any = None  # Any: JSON
    example_prediction: Any = None  # Any: JSON
    is_deterministic: bool = False
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """The metadata of one artifact.

    `slices` maps a slice ("sex=female", "class=cat", "users=new") to its metrics. `algorithm` is the architecture or
    the chosen estimator. `created` is an aware UTC time. `importance` maps an input to the decrease of the main metric
    on held-out rows when that input is shuffled. `code` is that of a model that is a user-defined class.
    """

    name: str
    task: Task
    algorithm: str
    created: datetime
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    metrics: Metrics
    data: DataSource
    classes: tuple[str, ...] = ()
    description: str = ""
    slices: Mapping[str, Metrics] = field(default_factory=dict)
    params: Mapping[str, Scalar] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    parity: Parity | None = None
    profile: Profile | None = None
    importance: Mapping[str, float] = field(default_factory=dict)
    calibration: tuple[CalibrationBin, ...] = ()
    code: CodeInterface | None = None


_CARD = TypeAdapter(Card)


def write_card(card: Card, folder: Path) -> None:
    """Write `card` into the artifact's folder. Raise ValueError for numbers that JSON cannot hold (NaN, infinity)."""
    encoded = _CARD.dump_json(card, indent=2, exclude_defaults=False)
    try:
        is_unchanged = _CARD.validate_json(encoded) == card
    except ValidationError:
        is_unchanged = False
    if not is_unchanged:
        raise ValueError("the card cannot be written as JSON: it holds NaN, infinity or a value of a wrong type")
    (folder / CARD_FILE).write_bytes(encoded)


def read_card(folder: Path) -> Card:
    """Read the card of an artifact's folder. Raise ArtifactInvalid when it is missing or malformed."""
    try:
        return _CARD.validate_json((folder / CARD_FILE).read_bytes())
    except OSError as error:
        raise ArtifactInvalid(f"artifact '{folder.parent.name}:{folder.name}' has no readable {CARD_FILE}") from error
    except ValidationError as error:
        raise ArtifactInvalid(
            f"{CARD_FILE} of artifact '{folder.parent.name}:{folder.name}' is malformed: {error.error_count()} errors"
        ) from error
