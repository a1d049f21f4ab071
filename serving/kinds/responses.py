"""Parts of responses that all kinds of models share."""

from __future__ import annotations

from serving.errors.mapping import detail_of, problem_type_of, report
from serving.kinds.image.schemas import (
    ItemProblem,
)
from serving.runners.interface import ModelRef
from serving.schemas.fields import ModelUsed


def model_used(model: ModelRef) -> ModelUsed:
    """The model that answered, as clients are told."""
    return ModelUsed(name=model.name, version=model.version)


def item_problem(error: Exception) -> ItemProblem:
    """Why one item of a batch failed, as clients are told. What is this service's fault is logged."""
    report(error)
    kind = problem_type_of(error)
    return ItemProblem(type=kind.type, title=kind.title, status=kind.status, detail=detail_of(error))
