"""The three models as clients of the Open Inference Protocol see them: tensors in, tensors out. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from anyio.to_thread import run_sync

from models.card import Card
from models.errors import NotKnown
from serving.context import requesting_version
from serving.kinds.image.handler import ImageHandler
from serving.kinds.image.open_inference import infer_images
from serving.kinds.recommender.handler import RecommenderHandler
from serving.kinds.recommender.open_inference import infer_items
from serving.kinds.served_models import ServedImages, ServedRecommender, ServedTable
from serving.kinds.tabular.handler import TabularHandler
from serving.kinds.tabular.open_inference import infer_rows
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.metadata import KINDS, Kind, described
from serving.open_inference.outputs import Inferred, chosen
from serving.open_inference.schemas import ModelMetadata, TensorMetadata
from serving.runners.interface import Runner
from serving.versions.catalog import CatalogEntry, ModelCatalog


class OpenInferenceHandler:
    """What the Open Inference Protocol asks for. A model has the name of its card, and that of its kind."""

    def __init__(
        self, images: ImageHandler, tabular: TabularHandler, recommendations: RecommenderHandler, catalog: ModelCatalog
    ) -> None:
        self._images = images
        self._tabular = tabular
        self._recommendations = recommendations
        self._catalog = catalog
        self._served: dict[Kind, ServedImages | ServedTable | ServedRecommender] = {
            "image": images.served, "tabular": tabular.served, "recommender": recommendations.served,
        }  # fmt: skip

    def kind(self, name: str) -> Kind:
        """The kind of model that `name` names. Raises NotKnown with the names that are known."""
        names = {self.card(kind).name: kind for kind in KINDS} | {kind: kind for kind in KINDS}
        if name not in names:
            raise NotKnown(f"no model '{name[:100]}'; known: {', '.join(sorted(names))}", location=("path", "name"))
        return names[name]

    def card(self, kind: Kind) -> Card:
        """The card of the model that is served."""
        return self._served[kind].card()

    def described(self, kind: Kind) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
        """The inputs and the outputs of a model."""
        return described(kind, self.card(kind))

    def _card(self, kind: Kind, version: str) -> Card:
        """The card of a version that answers; without one, of the default one."""
        served = self._served[kind]
        if version and isinstance(served, ServedTable) and served.card_of is not None:
            return served.card_of(version)
        if version and isinstance(served, ServedImages) and served.edition is not None:
            return served.edition(version).card
        return served.card()

    def runner(self, kind: Kind) -> Runner:
        """The runner behind the model."""
        return self._served[kind].runner

    async def answering(self, kind: Kind, version: str | None) -> list[str]:
        """The versions that answer, or `version` alone. Raises NotKnown when `version` is none of them."""
        entries: Sequence[CatalogEntry] = await run_sync(self._catalog.entries)
        name = self.card(kind).name
        served = next((each.version for each in entries if each.name == name and each.served), "")
        found = dict.fromkeys((served, *self._served[kind].traffic.available))
        if version is None:
            return list(found)
        if version not in found:
            message = f"no version '{version[:100]}' of '{name}' answers; answering: {', '.join(found) or 'none'}"
            raise NotKnown(message, location=("path", "version"))
        return [version]

    async def metadata(self, name: str, version: str | None) -> ModelMetadata:
        """What the model takes and gives. Raises NotKnown."""
        kind = self.kind(name)
        versions = await self.answering(kind, version)
        card = self._card(kind, version or "")
        inputs, outputs = described(kind, card)
        return ModelMetadata(
            name=name,
            versions=versions,
            platform=card.parity.runtime if card.parity else card.algorithm,
            inputs=inputs,
            outputs=outputs,
        )

    async def infer(self, name: str, version: str | None, asked: DecodedRequest) -> Inferred:
        """The outputs that were asked for.

        Raises NotKnown, InvalidInput with the location of the fault, and what the calls of each model raise.
        """
        kind = self.kind(name)
        inputs = {tensor.name: tensor for tensor in asked.inputs}
        with requesting_version(version, location=("path", "version")):
            match kind:
                case "image":
                    made = await infer_images(self._images, asked)
                case "tabular":
                    card = self._card("tabular", self._tabular.served.traffic.choose().version)
                    made = await infer_rows(self._tabular, card, inputs)
                case _:
                    made = await infer_items(self._recommendations, inputs)
        outputs = chosen(made.outputs, asked.outputs, made.classes)
        return Inferred(name, made.version, outputs)
