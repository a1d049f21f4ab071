"""Checkpoints of a training run: tensors and JSON in one safetensors file, from which a killed run continues."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_VERSION = "1"


@dataclass(slots=True)
class Progress:
    """Completed epochs, the best quality, the epochs since then, and the metrics of each epoch."""

    epochs: int = 0
    best: float = -1.0
    since_best: int = 0
    is_finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Progress and tensors, by group: "network", "best", "optimizer"."""

    progress: Progress
    tensors: Mapping[str, Mapping[str, Tensor]]


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Replace the file `path` atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = {
        f"{group}/{name}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for group, tensors in checkpoint.tensors.items()
        for name, tensor in tensors.items()
    }
    unfinished = path.with_suffix(".part")
    save_file(flat, unfinished, {"version": _VERSION, "progress": json.dumps(asdict(checkpoint.progress))})
    os.replace(unfinished, path)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Return the checkpoint, or None when the file is missing, damaged or of another version."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("version") != _VERSION:
                return None
            tensors: dict[str, dict[str, Tensor]] = {}
            for key in file.keys():  # noqa: SIM118  (not a mapping)
                group, name = key.split("/", 1)
                tensors.setdefault(group, {})[name] = file.get_tensor(key)
            return Checkpoint(Progress(**json.loads(metadata["progress"])), tensors)
    except (SafetensorError, ValueError, KeyError, TypeError):
        return None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer as named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{index}/{name}": tensor for index, values in state.items() for name, tensor in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
