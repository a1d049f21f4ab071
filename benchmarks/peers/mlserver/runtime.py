"""MLServer: a custom runtime with adaptive batching."""

from __future__ import annotations

import json
import os
from typing import Any

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.workloads.loader import load_workload


class Runtime(MLModel):
    """A runtime for one tensor per request: a JSON text, or an image in base64."""

    async def load(self) -> bool:
        self.workload = load_workload()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        requests = [part for entry in payload.inputs for part in _parts(entry)]
        results = self.workload.predict([self.workload.preprocess(request) for request in requests])
        encoded = [json.dumps(result) for result in results]
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("results", encoded)])


def _parts(entry: Any) -> list[Any]:
    from mlserver.codecs import Base64Codec

    if os.environ["BENCH_SCENARIO"] == "image":
        return list(Base64Codec.decode_input(entry))
    return [json.loads(text) for text in StringCodec.decode_input(entry)]
