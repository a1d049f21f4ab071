"""The form of answers of each task."""

from __future__ import annotations

from models.card import Card
from models.tabular import answers
from serving.kinds.tabular.answers.classes import ClassifiedForm
from serving.kinds.tabular.answers.clusters import ClusteredForm
from serving.kinds.tabular.answers.estimates import EstimatedForm
from serving.kinds.tabular.answers.form import AnswerForm
from serving.kinds.tabular.answers.outliers import OutlierForm
from serving.kinds.tabular.answers.several_classes import SeveralClassesForm
from serving.kinds.tabular.answers.several_estimates import SeveralEstimatesForm

_FORMS: dict[str, type[AnswerForm]] = {
    answers.CLASSIFICATION: ClassifiedForm,
    answers.REGRESSION: EstimatedForm,
    answers.MULTI_CLASS: SeveralClassesForm,
    answers.MULTI_REGRESSION: SeveralEstimatesForm,
    answers.CLUSTERING: ClusteredForm,
    answers.OUTLIERS: OutlierForm,
}


def answer_form(card: Card) -> AnswerForm:
    """Return the form of the answers of a model with `card`."""
    return _FORMS[card.task](card)
