"""Fine-tune a network on images: first its last layer, then the whole network, with early stopping.

Each epoch derives its random numbers from the seed and the epoch's number, so that a run that continues after a kill
gives the same weights as an uninterrupted one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from models.image.networks import PixelClassifier, classification_head
from models.image.preprocessing import Pixels, Preprocessing
from training.image.augmentation import Augmentation
from training.image.checkpoint import (
    Checkpoint,
    Progress,
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from training.report import console, note

_SMOOTHING = 0.05
_WEIGHT_DECAY = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """Hyperparameters of fine-tuning. The first `head_epochs` of `epochs` train the last layer alone."""

    epochs: int
    head_epochs: int
    head_rate: float
    rate: float
    batch: int
    patience: int
    seed: int


@dataclass(frozen=True, slots=True)
class Split:
    """Pixels to train on (N, S, S, 3) and to validate on (M, H, W, 3), with their classes."""

    seen: Pixels
    seen_of: NDArray[np.int64]
    held_out: Pixels
    held_out_of: NDArray[np.int64]


def finetune(
    network: nn.Module, data: Split, plan: Plan, preprocessing: Preprocessing, augmentation: Augmentation, file: Path
) -> Progress:
    """Train `network` in place until it stops improving, and restore its best weights.

    Continue from the checkpoint `file` if it exists, and write it after each epoch.
    """
    run = _Run(network, data, plan, preprocessing, augmentation)
    run.resume(read_checkpoint(file))
    while not run.progress.is_finished and run.progress.epochs < plan.epochs:
        run.epoch()
        run.progress.is_finished = is_finished(run.progress, plan)
        write_checkpoint(run.checkpoint(), file)
    network.load_state_dict(run.best)
    network.to("cpu").eval()
    return run.progress


def is_finished(progress: Progress, plan: Plan) -> bool:
    """Return whether the whole network has been trained, and for `patience` epochs did not improve or was perfect."""
    latest = [epoch["top1"] for epoch in progress.history[-plan.patience :]]
    is_perfect = len(latest) == plan.patience and min(latest) == 1.0
    return progress.epochs > plan.head_epochs and (progress.since_best >= plan.patience or is_perfect)


def probabilities(model: nn.Module, pixels: Pixels, *, batch: int = 64, what: str = "") -> NDArray[np.float32]:
    """Return the output of `model` (a PixelClassifier in evaluation mode) for uint8 (N, H, W, 3): float32 (N, C)."""
    device = next(model.parameters()).device
    starts = range(0, len(pixels), batch)
    steps = track(starts, what, console=console, transient=True) if what else starts
    with torch.inference_mode():
        return np.concatenate(
            [model(torch.from_numpy(np.array(pixels[i : i + batch])).to(device)).cpu().numpy() for i in steps]
        )


class _Run:
    def __init__(
        self, network: nn.Module, data: Split, plan: Plan, preprocessing: Preprocessing, augmentation: Augmentation
    ) -> None:
        self.network, self.data, self.plan, self.augmentation = network, data, plan, augmentation
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.size = preprocessing.crop
        self.model = PixelClassifier(network, preprocessing.mean, preprocessing.std).to(self.device)
        self.progress = Progress()
        self.best = copy.deepcopy(network.state_dict())
        self.optimizer = self._optimizer()

    def checkpoint(self) -> Checkpoint:
        tensors = {
            "network": self.network.state_dict(),
            "best": self.best,
            "optimizer": optimizer_tensors(self.optimizer),
        }
        return Checkpoint(self.progress, tensors)

    def resume(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None or checkpoint.progress.epochs == 0:
            return
        console.print(f"  continuing after epoch {checkpoint.progress.epochs} of {self.plan.epochs}")
        self.progress = checkpoint.progress
        self.network.load_state_dict(dict(checkpoint.tensors["network"]))
        self.best = dict(checkpoint.tensors["best"])
        self.optimizer = self._optimizer()
        if self.progress.epochs != self.plan.head_epochs:  # else the whole network starts with a new optimizer
            restore_optimizer(self.optimizer, checkpoint.tensors.get("optimizer", {}))

    def epoch(self) -> None:
        """One pass over the training images, then a look at the held-out ones."""
        started = time.perf_counter()
        progress, plan = self.progress, self.plan
        if progress.epochs == plan.head_epochs:
            self.optimizer = self._optimizer()
        random = torch.Generator().manual_seed(plan.seed * 100_003 + progress.epochs)
        torch.manual_seed(plan.seed * 100_003 + progress.epochs)
        self._set_training()
        order = torch.randperm(len(self.data.seen), generator=random).numpy()
        batches = list(self._batches(order))
        losses = []
        for number, rows in enumerate(track(batches, self._title(), console=console, transient=True)):
            self._set_rate(number / len(batches))
            losses.append(self._step(rows, random))
        self.model.eval()
        answers = probabilities(self.model, self.data.held_out)
        self._record(float(np.mean(losses)), answers, seconds=time.perf_counter() - started)

    def _step(self, rows: NDArray[np.int64], random: torch.Generator) -> float:
        images = torch.from_numpy(self.data.seen[np.sort(rows)]).to(self.device)
        of = torch.from_numpy(self.data.seen_of[np.sort(rows)]).to(self.device)
        varied = self.augmentation.batch(images, self.size, random)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.model.logits(varied)
        loss: Tensor = nn.functional.cross_entropy(logits.float(), of, label_smoothing=_SMOOTHING)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    def _batches(self, order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        for start in range(0, len(order), self.plan.batch):
            rows = order[start : start + self.plan.batch]
            # Batch normalisation cannot learn from a single image, which another epoch puts into a larger batch.
            if len(rows) > 1 or len(order) == 1:
                yield rows

    def _trains_head_alone(self) -> bool:
        return self.progress.epochs < self.plan.head_epochs

    def _set_training(self) -> None:
        if self._trains_head_alone():
            # The frozen part keeps its batch statistics and its weights.
            self.model.eval()
            classification_head(self.network).train()
        else:
            self.model.train()

    def _optimizer(self) -> torch.optim.Optimizer:
        is_alone = self._trains_head_alone()
        head = {id(parameter) for parameter in classification_head(self.network).parameters()}
        for parameter in self.network.parameters():
            parameter.requires_grad_(not is_alone or id(parameter) in head)
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(trained, lr=self.plan.rate, weight_decay=_WEIGHT_DECAY)

    def _set_rate(self, share_of_epoch: float) -> None:
        """Set the learning rate: constant for the head; for the whole network a warm-up of a fifth of an epoch, then
        half a cosine down to 1 %."""
        plan, done = self.plan, self.progress.epochs - self.plan.head_epochs + share_of_epoch
        if self._trains_head_alone():
            rate = plan.head_rate
        else:
            total = max(1, plan.epochs - plan.head_epochs)
            rate = plan.rate * min(1.0, 0.05 + done / 0.2) * (0.01 + 0.99 * (1 + math.cos(math.pi * done / total)) / 2)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _record(self, loss: float, answers: NDArray[np.float32], *, seconds: float) -> None:
        of = self.data.held_out_of
        top1 = float((answers.argmax(1) == of).mean())
        likelihood = float(-np.log(np.maximum(answers[np.arange(len(of)), of], 1e-9)).mean())
        progress = self.progress
        # The validation loss decides between epochs of equal top-1.
        quality = top1 - 1e-3 * min(likelihood, 20.0)
        progress.epochs += 1
        progress.since_best += 1
        if quality > progress.best:
            progress.best, progress.since_best = quality, 0
            self.best = copy.deepcopy(self.network.state_dict())
        progress.history.append({"epoch": progress.epochs, "loss": loss, "top1": top1, "validation_loss": likelihood})
        is_whole, left = progress.epochs > self.plan.head_epochs, self.plan.epochs - progress.epochs
        part = "whole network" if is_whole else "last layer"
        # An epoch of the last layer says little about those of the whole network.
        remaining = f", about {_duration(left * seconds)} left at most" if is_whole and left else ""
        note(f"epoch {progress.epochs}/{self.plan.epochs} ({part}): loss {loss:.3f}, top-1 {top1:.2%}{remaining}")

    def _title(self) -> str:
        return f"epoch {self.progress.epochs + 1}/{self.plan.epochs}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
