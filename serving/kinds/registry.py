"""The kinds of models that this service knows, and the settings of a service with all of them."""

from __future__ import annotations

from typing import Any

from serving.kinds.image.kind import ImageClassifiers
from serving.kinds.image.settings import ImageSettings
from serving.kinds.interface import Kind
from serving.kinds.python.kind import PythonClasses
from serving.kinds.python.settings import PythonSettings
from serving.kinds.recommender.kind import Recommenders
from serving.kinds.recommender.settings import RecommenderSettings
from serving.kinds.tabular.kind import Tabular
from serving.kinds.tabular.settings import TabularSettings
from serving.kinds.text.kind import TextClassifiers
from serving.kinds.text.settings import TextSettings

# In the order of the OpenAPI document.
KINDS: tuple[Kind[Any], ...] = (ImageClassifiers(), Tabular(), Recommenders(), TextClassifiers(), PythonClasses())


class ServiceSettings(ImageSettings, TabularSettings, RecommenderSettings, TextSettings, PythonSettings):
    """All settings of a service: those that the kinds share, and those of each kind. Frozen."""
