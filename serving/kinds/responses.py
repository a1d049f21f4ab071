"""Parts of responses that all kinds of models share."""

from __future__ import annotations

from pydantic import Field

from serving.context import public_path
from serving.errors.mapping import detail_of, problem_type_of, report
from serving.runners.interface import ModelRef
from serving.schemas.fields import ModelUsed, Response


class ItemProblem(Response):
    """Why one item of a batch has no answer."""

    type: str = Field(description="Kind of problem, as in problem documents.", examples=["/problems/validation"])
    title: str
    status: int = Field(ge=400, le=599, description="The HTTP status that this item alone would have got.")
    detail: str


def model_used(model: ModelRef) -> ModelUsed:
    """Return the model that answered, as responses name it."""
    return ModelUsed(name=model.name, version=model.version)


def item_problem(error: Exception) -> ItemProblem:
    """Return why one item of a batch failed. Logs what is a fault of the service."""
    report(error)
    problem_type = problem_type_of(error)
    return ItemProblem(
        type=public_path(problem_type.type),
        title=problem_type.title,
        status=problem_type.status,
        detail=detail_of(error),
    )
