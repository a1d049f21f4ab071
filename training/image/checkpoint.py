"""Where a training run stands, in one file: what it needs to go on after a kill as if nothing had happened.

Tensors and JSON in one safetensors file, replaced whole. Knows no network.
"""

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
    """Epochs done, the best so far and how long ago, and one line of numbers per epoch."""

    epochs: int = 0
    best: float = -1.0
    since_best: int = 0
    is_finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Progress, and tensors by group: "network", "best", "optimizer"."""

    progress: Progress
    tensors: Mapping[str, Mapping[str, Tensor]]


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Replace the file `path` whole: a kill leaves the old one or the new one."""
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
    """What was written last, or None when there is none or it is of another version."""
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
    """The state of an optimizer as named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{index}/{name}": tensor for index, values in state.items() for name, tensor in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
