"""Augmentation of batches of training images: shift, rotation, scale, mirroring, brightness and contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Strength = Literal["none", "light", "full"]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Limits of the augmentation: scale and light as shares, rotation in degrees."""

    smallest_scale: float = 1.0
    rotation_degrees: float = 0.0
    light: float = 0.0
    mirrors: bool = False

    def batch(self, images: Tensor, size: int, random: torch.Generator) -> Tensor:
        """Return an augmented batch, from uint8 (N, S, S, 3) to uint8 (N, size, size, 3)."""
        count = len(images)

        def draw(low: float, high: float) -> Tensor:
            return torch.empty(count).uniform_(low, high, generator=random)

        scale = draw(self.smallest_scale, 1.0)
        angle = draw(-1, 1) * math.radians(self.rotation_degrees)
        across, down = draw(-1, 1) * (1 - scale), draw(-1, 1) * (1 - scale)
        flip = torch.where(draw(0, 1) < 0.5, -1.0, 1.0) if self.mirrors else torch.ones(count)
        brightness, contrast = 1 + draw(-1, 1) * self.light, 1 + draw(-1, 1) * self.light
        cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
        rows = (torch.stack((cosine * flip, -sine, across), 1), torch.stack((sine * flip, cosine, down), 1))
        theta = torch.stack(rows, 1).to(images.device)
        planes = images.permute(0, 3, 1, 2).float()
        grid = nn.functional.affine_grid(theta, [count, 3, size, size], align_corners=False)
        planes = nn.functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
        mean = planes.mean((1, 2, 3), keepdim=True)
        planes = (planes - mean) * _column(contrast, planes) + mean * _column(brightness, planes)
        return planes.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def augmentation(strength: Strength, *, mirrors: bool) -> Augmentation:
    """Return an augmentation: `light` suits digits and parts in a fixed position, `full` suits photographs."""
    if strength == "none":
        return Augmentation(mirrors=mirrors)
    if strength == "light":
        return Augmentation(smallest_scale=0.85, rotation_degrees=8, light=0.1, mirrors=mirrors)
    return Augmentation(smallest_scale=0.5, rotation_degrees=10, light=0.3, mirrors=mirrors)


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.device).view(-1, 1, 1, 1)
