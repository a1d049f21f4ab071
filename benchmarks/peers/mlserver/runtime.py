"""MLServer: a custom runtime; its adaptive batching merges requests that come together."""

from __future__ import annotations

import json
import os
from typing import Any

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.workloads.chosen import chosen_workload


class Runtime(MLModel):
    """One tensor of text or bytes per request: the JSON of a question, or an image in base64."""

    async def load(self) -> bool:
        self.workload = chosen_workload()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        raw = [part for entry in payload.inputs for part in _parts(entry)]
        answers = self.workload.answers([self.workload.item(part) for part in raw])
        encoded = [json.dumps(answer) for answer in answers]
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("answers", encoded)])


def _parts(entry: Any) -> list[Any]:
    from mlserver.codecs import Base64Codec

    if os.environ["BENCH_SCENARIO"] == "image":
        return list(Base64Codec.decode_input(entry))
    return [json.loads(text) for text in StringCodec.decode_input(entry)]
