"""The three models as clients of the Open Inference Protocol see them: tensors in, tensors out. Knows no HTTP.

image        `image`, BYTES (N): encoded files; or UINT8 (N, H, W, 3): pixels, scaled and cropped as a file's are
tabular      one tensor for each column, (N) or (N, 1)
recommender  `user_id`, BYTES (N); `n`, INT32 (1) or (N); `filter_seen`, BOOL (1)
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from anyio.to_thread import run_sync
from pydantic import ValidationError

from models.card import Card, Column
from models.errors import InputError, InvalidInput, NotKnown
from serving.asker import asking_for
from serving.calls.images import ImageCalls
from serving.calls.recommendations import RecommenderCalls
from serving.calls.tabular import TabularCalls
from serving.catalog import CatalogEntry, ModelCatalog
from serving.inference_body import Asked, located
from serving.runners import Runner
from serving.schemas.inference import InferWanted, ModelMetadata, TensorMetadata
from serving.schemas.recommendations import MAX_ITEMS, BulkRecommendRequest, UserFailure, UserResult
from serving.schemas.tabular import ClassifiedRows
from serving.served import ServedImages, ServedRecommender, ServedTable
from serving.tensors import Datatype, Tensor, text_tensor

Kind = Literal["image", "tabular", "recommender"]
KINDS: tuple[Kind, ...] = ("image", "tabular", "recommender")
_DATATYPES: dict[str, Datatype] = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}


@dataclass(frozen=True, slots=True)
class Inferred:
    """All outputs of a model, and which version made them."""

    name: str
    version: str
    outputs: list[Tensor]
    classes: Sequence[str] = ()


class InferenceCalls:
    """What the Open Inference Protocol asks for. A model has the name of its card, and that of its kind."""

    def __init__(
        self, images: ImageCalls, tabular: TabularCalls, recommendations: RecommenderCalls, catalog: ModelCatalog
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
        return _described(kind, self.card(kind))

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
        found = dict.fromkeys((served, *self._served[kind].traffic.answering))
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
        inputs, outputs = _described(kind, card)
        return ModelMetadata(
            name=name,
            versions=versions,
            platform=card.parity.runtime if card.parity else card.algorithm,
            inputs=inputs,
            outputs=outputs,
        )

    async def infer(self, name: str, version: str | None, asked: Asked) -> Inferred:
        """The outputs that were asked for.

        Raises NotKnown, InvalidInput with the location of the fault, and what the calls of each model raise.
        """
        kind = self.kind(name)
        inputs = {tensor.name: tensor for tensor in asked.inputs}
        with asking_for(version, location=("path", "version")):
            match kind:
                case "image":
                    made = await self._infer_images(asked)
                case "tabular":
                    made = await self._infer_rows(inputs)
                case _:
                    made = await self._infer_items(inputs)
        outputs = _chosen(made.outputs, asked.outputs, made.classes)
        return Inferred(name, made.version, outputs)

    async def _infer_images(self, asked: Asked) -> Inferred:
        tensor = asked.inputs[0]
        if tensor.name != "image" or len(asked.inputs) > 1:
            raise InvalidInput("there has to be one tensor, 'image'", location=("body", "inputs"))
        images: list[Any]
        if tensor.datatype == "BYTES":
            elements = tensor.values.ravel()
            images = [
                _file(each, index) if tensor.name in asked.is_text else each for index, each in enumerate(elements)
            ]
        elif tensor.datatype == "UINT8" and tensor.values.ndim == 4 and tensor.shape[3] == 3:
            images = list(tensor.values)
        else:
            message = "has to be BYTES (N), encoded files, or UINT8 (N, H, W, 3), pixels"
            raise InvalidInput(message, location=("body", "inputs", 0, "datatype"))
        answer, classes = await self._images.probabilities(images, within=("body", "inputs", 0, "data"))
        labels = [classes[place].encode() for place in answer.values.argmax(axis=1)]
        outputs = [
            text_tensor("label", labels, [len(labels)]),
            Tensor("probabilities", "FP32", answer.values.astype(np.float32)),
        ]
        return Inferred("image", answer.model.version, outputs, classes)

    async def _infer_rows(self, inputs: Mapping[str, Tensor]) -> Inferred:
        card = self._card("tabular", self._tabular.served.traffic.choose().version)
        columns = {column.name: column for column in card.inputs}
        rows = next(iter(inputs.values())).shape[0]
        values: dict[str, list[Any]] = {}
        for index, (name, tensor) in enumerate(inputs.items()):
            if name not in columns:
                message = f"no column '{name[:100]}'; known: {', '.join(columns)}"
                raise InvalidInput(message, location=("body", "inputs", index, "name"))
            if tensor.shape not in ([rows], [rows, 1]):
                message = f"the shape has to be [{rows}] or [{rows}, 1], that of the first tensor"
                raise InvalidInput(message, location=("body", "inputs", index, "shape"))
            values[name] = _column(tensor, columns[name])
        instances = [{name: column[row] for name, column in values.items()} for row in range(rows)]
        try:
            answer = await self._tabular.predict(instances)
        except (ValidationError, InputError) as error:
            raise located(error, list(inputs)) from error
        if not isinstance(answer, ClassifiedRows):
            estimates = np.array([row.prediction for row in answer.predictions], np.float32)
            return Inferred("tabular", answer.model.version, [Tensor("prediction", "FP32", estimates)])
        classes = list(answer.predictions[0].probabilities)
        shares = [[row.probabilities[each] for each in classes] for row in answer.predictions]
        labels = [row.prediction.encode() for row in answer.predictions]
        outputs = [
            text_tensor("prediction", labels, [rows]),
            Tensor("probabilities", "FP32", np.array(shares, np.float32)),
        ]
        return Inferred("tabular", answer.model.version, outputs, classes)

    async def _infer_items(self, inputs: Mapping[str, Tensor]) -> Inferred:
        for index, name in enumerate(inputs):
            if name not in ("user_id", "n", "filter_seen"):
                message = f"no input '{name[:100]}'; known: user_id, n, filter_seen"
                raise InvalidInput(message, location=("body", "inputs", index, "name"))
        order = list(inputs)
        users = _users(inputs, order)
        wanted = _counts(inputs, len(users), order)
        request = BulkRecommendRequest(user_ids=users, n=max(wanted), filter_seen=_filter_seen(inputs, order))
        answer = await self._recommendations.recommend_bulk(request)
        results: list[UserResult] = []
        for result in answer.results:
            if isinstance(result, UserFailure):
                raise self._recommendations.failure(result)
            results.append(result)
        return Inferred("recommender", answer.model.version, _items(results, wanted))


def _items(results: Sequence[UserResult], wanted: Sequence[int]) -> list[Tensor]:
    """(N, longest list): what a shorter list lacks is empty, and `count` says how long each is."""
    lists = [result.items[:n] for result, n in zip(results, wanted, strict=True)]
    longest = max(len(items) for items in lists)
    shape = [len(lists), longest]
    ids = [items[k].item_id if k < len(items) else "" for items in lists for k in range(longest)]
    titles = [(items[k].title or "") if k < len(items) else "" for items in lists for k in range(longest)]
    scores = [items[k].score if k < len(items) else 0.0 for items in lists for k in range(longest)]
    return [
        text_tensor("item_id", [each.encode() for each in ids], shape),
        text_tensor("title", [each.encode() for each in titles], shape),
        Tensor("score", "FP32", np.array(scores, np.float32).reshape(shape)),
        Tensor("count", "INT32", np.array([len(items) for items in lists], np.int32)),
        text_tensor("reason", [(result.reason or "").encode() for result in results], [len(lists)]),
    ]


def _users(inputs: Mapping[str, Tensor], order: Sequence[str]) -> list[str]:
    tensor = inputs.get("user_id")
    if (
        tensor is None
        or tensor.datatype != "BYTES"
        or tensor.shape not in ([len(tensor.values)], [len(tensor.values), 1])
    ):
        raise InvalidInput("a tensor 'user_id', BYTES (N), is required", location=("body", "inputs"))
    at = ("body", "inputs", order.index("user_id"), "data")
    users = [_text(each, (*at, row)) or "" for row, each in enumerate(tensor.values.ravel())]
    if bad := [row for row, user in enumerate(users) if not 1 <= len(user) <= 256]:
        raise InvalidInput("an id has 1 to 256 characters", location=(*at, bad[0]))
    if not users:
        raise InvalidInput("there is no user", location=at)
    return users


def _counts(inputs: Mapping[str, Tensor], users: int, order: Sequence[str]) -> list[int]:
    tensor = inputs.get("n")
    if tensor is None:
        return [10] * users
    at = ("body", "inputs", order.index("n"))
    if not tensor.datatype.startswith(("INT", "UINT")) or tensor.values.size not in (1, users):
        raise InvalidInput("'n' has to be INT32 (1), or (N) for each user", location=(*at, "shape"))
    counts: list[int] = tensor.values.ravel().tolist()
    if not all(1 <= count <= MAX_ITEMS for count in counts):
        raise InvalidInput(f"1 to {MAX_ITEMS} items may be asked for", location=(*at, "data"))
    return counts * users if len(counts) == 1 else counts


def _filter_seen(inputs: Mapping[str, Tensor], order: Sequence[str]) -> bool:
    tensor = inputs.get("filter_seen")
    if tensor is None:
        return True
    if tensor.datatype != "BOOL" or tensor.values.size != 1:
        where = ("body", "inputs", order.index("filter_seen"), "shape")
        raise InvalidInput("'filter_seen' has to be BOOL (1)", location=where)
    return bool(tensor.values.ravel()[0])


def _column(tensor: Tensor, column: Column) -> list[Any]:
    """The values of a column as the JSON call takes them. NaN, and an empty text, stand for null where it may be."""
    values: list[Any] = tensor.values.ravel().tolist()
    if tensor.datatype == "BYTES":
        texts = [_text(each, ("body", "instances", row, column.name)) for row, each in enumerate(values)]
        known = column.categories if column.kind == "category" else ("",)
        return [None if text == "" and column.nullable and "" not in known else text for text in texts]
    if tensor.datatype == "FP32" and column.kind == "number":
        values = [float(f"{value:.9g}") for value in values]
    return [None if isinstance(value, float) and math.isnan(value) and column.nullable else value for value in values]


def _text(element: bytes | None, where: tuple[str | int, ...]) -> str | None:
    try:
        return None if element is None else element.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("the bytes are no UTF-8 text", location=where) from error


def _file(text: bytes | None, index: int) -> bytes:
    try:
        return base64.b64decode(text or b"", validate=True)
    except binascii.Error as error:
        where = ("body", "inputs", 0, "data", index)
        raise InvalidInput("a file in JSON has to be base64", location=where) from error


def _chosen(outputs: list[Tensor], wanted: Sequence[InferWanted], classes: Sequence[str]) -> list[Tensor]:
    known = {tensor.name: tensor for tensor in outputs}
    chosen: list[Tensor] = []
    for index, each in enumerate(wanted):
        if each.name not in known:
            message = f"no output '{each.name[:100]}'; known: {', '.join(known)}"
            raise InvalidInput(message, location=("body", "outputs", index, "name"))
        best = (each.parameters or {}).get("classification")
        chosen.append(known[each.name] if best is None else _classified(known[each.name], best, classes, index))
    return chosen or outputs


def _classified(tensor: Tensor, best: object, classes: Sequence[str], index: int) -> Tensor:
    """The likeliest classes as `value:index:label` (Triton's classification extension)."""
    if tensor.name != "probabilities" or type(best) is not int or best < 1:
        message = "'classification' is a number of classes, of the output 'probabilities'"
        raise InvalidInput(message, location=("body", "outputs", index, "parameters", "classification"))
    top = np.argsort(-tensor.values, axis=1, kind="stable")[:, :best]
    said = [
        f"{row[place]:f}:{place}:{classes[place]}".encode()
        for row, places in zip(tensor.values, top, strict=True)
        for place in places
    ]
    return text_tensor(tensor.name, said, list(top.shape))


def _described(kind: Kind, card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
    def tensor(name: str, datatype: Datatype, *shape: int) -> TensorMetadata:
        return TensorMetadata(name=name, datatype=datatype, shape=[-1, *shape])

    if kind == "image":
        outputs = [tensor("label", "BYTES"), tensor("probabilities", "FP32", len(card.classes))]
        return [tensor("image", "BYTES")], outputs
    if kind == "recommender":
        inputs = [tensor("user_id", "BYTES"), tensor("n", "INT32"), tensor("filter_seen", "BOOL")]
        items = [tensor("item_id", "BYTES", -1), tensor("title", "BYTES", -1), tensor("score", "FP32", -1)]
        return inputs, [*items, tensor("count", "INT32"), tensor("reason", "BYTES")]
    inputs = [tensor(column.name, _DATATYPES.get(column.kind, "BYTES")) for column in card.inputs]
    if card.task == "tabular-regression":
        return inputs, [tensor("prediction", "FP32")]
    return inputs, [tensor("prediction", "BYTES"), tensor("probabilities", "FP32", len(card.classes))]
