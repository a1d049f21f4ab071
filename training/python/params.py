"""The options of `python -m training.python`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.errors import DataInvalid
from models.store.artifacts import check_name
from training.command import option
from training.promotion import PROMOTE_HELP


@dataclass(frozen=True)
class Params:
    """Options of `python -m training.python`."""

    class_: str = option("", "class that answers, as package.module:Class")
    weights: Path | None = option(None, "folder or file that `load` gets; none for a class without weights")
    name: str = option("", "name of the artifact")
    example: str = option("", "JSON of one row, or @ and a file with it; by default `example` of the class")
    description: str = option("", "what the model does; by default the docstring of the class")
    promote: bool = option(False, PROMOTE_HELP)


def check(params: Params) -> None:
    """Raise DataInvalid or ArtifactInvalid for options that are missing or not permitted."""
    if not params.class_:
        raise DataInvalid("--class is missing, such as --class mymodels.sentiment:Sentiment")
    if not params.name:
        raise DataInvalid("--name is missing, such as --name sentiment")
    check_name(params.name)
