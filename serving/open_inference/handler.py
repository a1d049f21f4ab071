"""The served models as clients of the Open Inference Protocol see them: tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from anyio.to_thread import run_sync

from models.errors import NotKnown
from serving.context import requesting_version
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.model import InferenceModel
from serving.open_inference.outputs import Inferred, select_outputs
from serving.open_inference.schemas import ModelMetadata
from serving.runners.interface import Runner
from serving.versions.catalog import CatalogEntry, ModelCatalog


class OpenInferenceHandler:
    """The calls of the Open Inference Protocol. `models` returns the served models by alias.

    A client names a model by its alias, or by the name that its artifact has in the store.
    """

    def __init__(self, models: Callable[[], Mapping[str, InferenceModel]], catalog: ModelCatalog) -> None:
        self._models = models
        self._catalog = catalog

    @property
    def models(self) -> Mapping[str, InferenceModel]:
        """The models by alias."""
        return self._models()

    @property
    def runners(self) -> list[Runner]:
        """The runners of all models."""
        return [model.runner for model in self.models.values()]

    def model(self, name: str) -> InferenceModel:
        """Return the model that `name` names. Raises NotKnown with the names that are known."""
        models = self.models
        if name in models:
            return models[name]
        names = {model.card().name: model for model in models.values()}
        if name not in names:
            known = ", ".join(sorted({*models, *names}))
            raise NotKnown(f"no model '{name[:100]}'; known: {known}", location=("path", "name"))
        return names[name]

    async def answering(self, model: InferenceModel, version: str | None) -> list[str]:
        """Return the versions that answer, or `version` alone. Raises NotKnown when `version` is not among them."""
        entries: Sequence[CatalogEntry] = await run_sync(self._catalog.entries)
        name = model.card().name
        served = next((each.version for each in entries if each.name == name and each.served), "")
        versions = dict.fromkeys((served, *model.answering()))
        if version is None:
            return list(versions)
        if version not in versions:
            message = f"no version '{version[:100]}' of '{name}' answers; answering: {', '.join(versions) or 'none'}"
            raise NotKnown(message, location=("path", "version"))
        return [version]

    async def metadata(self, name: str, version: str | None) -> ModelMetadata:
        """Return the inputs and outputs of a model. Raises NotKnown."""
        model = self.model(name)
        versions = await self.answering(model, version)
        card = model.card(version or "")
        inputs, outputs = model.tensors(card)
        return ModelMetadata(
            name=name,
            versions=versions,
            platform=card.parity.runtime if card.parity else card.algorithm,
            inputs=inputs,
            outputs=outputs,
        )

    async def infer(self, name: str, version: str | None, request: DecodedRequest) -> Inferred:
        """Return the outputs that the request asks for.

        Raises NotKnown, InvalidInput with the location of the fault, and what the model's handler raises.
        """
        model = self.model(name)
        with requesting_version(version, location=("path", "version")):
            inferred = await model.infer(request)
        return Inferred(inferred.version, select_outputs(inferred.outputs, request.outputs, inferred.classes))
