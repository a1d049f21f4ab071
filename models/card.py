"""What is known about an artifact: task, schema, metrics, lineage. Read by serving, written by training.

A card is the file `card.json` beside the weights. It is the only thing that training and serving share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from models.errors import ArtifactInvalid
from models.profile import Profile

CARD_FILE = "card.json"

Task = Literal["image-classification", "tabular-classification", "tabular-regression", "recommendation"]
Scalar = str | int | float | bool | None
Metrics = Mapping[str, float]

# What cells of text say, in the tables that a model is trained on and in those that it is asked about: truth, in any
# case of letters, and that nothing is known. The latter are those of pandas, with two of spreadsheets.
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

    `kind` is what a client sends: a number, an integer, a boolean, one of `categories`, or free text.
    `minimum` and `maximum` are what the training data held: a description, not a limit.
    `accepts_unknown` tells whether a category outside `categories` is served (as "none of these") or refused.
    """

    name: str
    kind: Literal["number", "integer", "boolean", "category", "text", "image"]
    description: str = ""
    required: bool = True
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    accepts_unknown: bool = False
    example: Scalar = None


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the serving runtime and the training framework agree, over `rows` inputs.

    `top1_agreement` is a share in 0..1 (classification only); `max_difference` is over all output numbers.
    """

    reference: str
    runtime: str
    rows: int
    max_difference: float
    top1_agreement: float | None = None


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where the training data came from: a name without any path of the machine, its SHA-256, its size in rows."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Held-out rows whose predicted probability p has lower <= p < upper, and the share of them that came true.

    For two classes p is the probability of the second one; for more it is that of the likeliest.
    """

    lower: float
    upper: float
    rows: int
    mean_probability: float
    observed_share: float


@dataclass(frozen=True, slots=True)
class Card:
    """All that is known about one artifact.

    `slices` maps a slice ("sex=female", "class=cat", "users=new") to its metrics. `algorithm` is the architecture or
    the chosen estimator. `created` is an aware UTC time. `importance` is, per input, by how much the main metric falls
    on held-out rows when that input is shuffled.
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


_CARD = TypeAdapter(Card)


def write_card(card: Card, folder: Path) -> None:
    """Write `card` into the artifact's folder. Numbers that JSON cannot hold (NaN, infinity) raise ValueError."""
    encoded = _CARD.dump_json(card, indent=2, exclude_defaults=False)
    try:
        survives = _CARD.validate_json(encoded) == card
    except ValidationError:
        survives = False
    if not survives:
        raise ValueError("the card does not survive being written: it holds NaN, infinity or another type's value")
    (folder / CARD_FILE).write_bytes(encoded)


def read_card(folder: Path) -> Card:
    """Read the card of an artifact's folder. Raises ArtifactInvalid when it is missing or malformed."""
    try:
        return _CARD.validate_json((folder / CARD_FILE).read_bytes())
    except OSError as error:
        raise ArtifactInvalid(f"artifact '{folder.parent.name}:{folder.name}' has no readable {CARD_FILE}") from error
    except ValidationError as error:
        raise ArtifactInvalid(
            f"{CARD_FILE} of artifact '{folder.parent.name}:{folder.name}' is malformed: {error.error_count()} faults"
        ) from error
