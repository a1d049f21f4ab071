"""Rows of a table to probabilities: the artifact's ONNX graph, or a scikit-learn pipeline as its users serve it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.workloads.base import Answer

_MISSING = -1.0
_UNKNOWN = -2.0


class OnnxTabular:
    """The artifact's `model.onnx` on ONNX Runtime, rows encoded as its card says. A request may have several rows."""

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

    def item(self, request: Any) -> NDArray[np.float32]:
        rows = request["instances"]
        return np.array([[self._code(row.get(name), codes) for name, codes in self._columns] for row in rows], "f4")

    def answers(self, items: list[NDArray[np.float32]]) -> list[Answer]:
        found = self._session.run(None, {"rows": np.concatenate(items)})[0].tolist()
        ends = np.cumsum([len(rows) for rows in items]).tolist()
        return [{"probabilities": found[end - len(rows) : end]} for rows, end in zip(items, ends, strict=True)]

    @staticmethod
    def _code(value: Any, codes: dict[str, float] | None) -> float:
        if codes is not None:
            return _MISSING if value is None else codes.get(value, _UNKNOWN)
        return float("nan") if value is None else float(value)


class PlainTabular:
    """A scikit-learn pipeline over a pandas table, loaded with joblib as scikit-learn's own guide shows."""

    def __init__(self, model: Path) -> None:
        import joblib

        self._pipeline = joblib.load(model)

    def item(self, request: Any) -> Any:
        import pandas as pd

        return pd.DataFrame(request["instances"])

    def answers(self, items: list[Any]) -> list[Answer]:
        return [{"probabilities": self._pipeline.predict_proba(table).tolist()} for table in items]
