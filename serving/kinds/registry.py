"""The kinds of models that this service knows."""

from __future__ import annotations

from serving.kinds.image.kind import ImageClassifiers
from serving.kinds.interface import Kind
from serving.kinds.recommender.kind import Recommenders
from serving.kinds.tabular.kind import Tabular

# In the order of the OpenAPI document.
KINDS: tuple[Kind, ...] = (ImageClassifiers(), Tabular(), Recommenders())
