"""Tabular classification: the ONNX model of the artifact, or a scikit-learn pipeline as the baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.workloads.base import Result

_MISSING = -1.0
_UNKNOWN = -2.0


class OnnxTabular:
    """`model.onnx` of the artifact on ONNX Runtime. A request has one or more rows, encoded as its card describes."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        card = json.loads((folder / "card.json").read_bytes())
        self._columns: list[tuple[str, dict[str, float] | None]] = [
            (
                column["name"],
                {name: float(code) for code, name in enumerate(column["categories"])}
                if column["kind"] == "category"
                else None,
            )
            for column in card["inputs"]
        ]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._dtype = np.float64 if self._session.get_inputs()[0].type == "tensor(double)" else np.float32

    def preprocess(self, request: Any) -> NDArray[np.floating]:
        rows = request["instances"]
        coded = [[self._code(row.get(name), codes) for name, codes in self._columns] for row in rows]
        return np.array(coded, self._dtype)

    def predict(self, inputs: list[NDArray[np.floating]]) -> list[Result]:
        probabilities = self._session.run(None, {"rows": np.concatenate(inputs)})[0].tolist()
        ends = np.cumsum([len(rows) for rows in inputs]).tolist()
        return [{"probabilities": probabilities[end - len(rows) : end]} for rows, end in zip(inputs, ends, strict=True)]

    @staticmethod
    def _code(value: Any, codes: dict[str, float] | None) -> float:
        if codes is not None:
            return _MISSING if value is None else codes.get(value, _UNKNOWN)
        return float("nan") if value is None else float(value)


class SklearnTabular:
    """A scikit-learn pipeline on a pandas table, loaded with joblib as in the scikit-learn user guide."""

    def __init__(self, model: Path) -> None:
        import joblib

        self._pipeline = joblib.load(model)

    def preprocess(self, request: Any) -> Any:
        import pandas as pd

        return pd.DataFrame(request["instances"])

    def predict(self, inputs: list[Any]) -> list[Result]:
        return [{"probabilities": self._pipeline.predict_proba(table).tolist()} for table in inputs]
