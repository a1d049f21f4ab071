"""What the three models take and give, as the Open Inference Protocol tells it. Knows cards."""

from __future__ import annotations

from typing import Literal

from models.card import Card
from serving.open_inference.schemas import TensorMetadata
from serving.open_inference.tensors import Datatype

Kind = Literal["image", "tabular", "recommender"]
KINDS: tuple[Kind, ...] = ("image", "tabular", "recommender")
_DATATYPES: dict[str, Datatype] = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}


def described(kind: Kind, card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
    """The inputs and the outputs of a model with `card`."""

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
