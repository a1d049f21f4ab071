"""Scenarios of the benchmark: workload, artifact, numbers of connections and request rates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks import artifacts

Kind = Literal["overhead", "tabular", "image", "recommender"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workload under a number of connections (closed loop) and request rates (open loop)."""

    key: str
    kind: Kind
    title: str
    connections: tuple[int, ...]
    rates_per_s: tuple[int, ...] = ()
    image_size: tuple[int, int] = (0, 0)
    artifact_name: str = ""
    catalogue: int = 0
    is_brief: bool = False  # fewer servers
    length: int = 1  # factor on the duration of a load: low throughput needs more time

    def artifact(self) -> Path | None:
        """Return the folder of the artifact that peers load, or None for a scenario without an artifact.

        Raises FileNotFoundError if the model store does not contain it.
        """
        if self.catalogue:
            return artifacts.synthetic_catalogue(self.catalogue)
        if not self.artifact_name:
            return None
        folder = artifacts.newest(self.artifact_name)
        if folder is None:
            raise FileNotFoundError(f"no artifact '{self.artifact_name}' in the model store; run: make train")
        return folder


def _image(
    key: str,
    title: str,
    size: tuple[int, int],
    artifact_name: str,
    *,
    connections: tuple[int, ...] = (16,),
    rates_per_s: tuple[int, ...] = (),
    is_brief: bool = True,
) -> Scenario:
    return Scenario(
        key,
        "image",
        title,
        connections,
        rates_per_s,
        image_size=size,
        artifact_name=artifact_name,
        is_brief=is_brief,
        length=2,
    )


_SMALL, _LARGE = (500, 375), (1024, 1024)

SCENARIOS = (
    Scenario("overhead", "overhead", "Sum of 30 floats", (1, 16, 64, 256), (500, 2000)),
    Scenario(
        "tabular",
        "tabular",
        "German credit, one row per request",
        (1, 16, 64, 256),
        (200, 1000),
        artifact_name="tabular",
    ),
    _image(
        "image-500-lite0",
        "500x375 JPEG, EfficientNet-Lite0",
        _SMALL,
        "image",
        connections=(1, 16),
        rates_per_s=(20, 60),
        is_brief=False,
    ),
    _image("image-500-lite0-bf16", "500x375 JPEG, EfficientNet-Lite0 in bfloat16", _SMALL, "image-bf16"),
    _image("image-1024-lite0", "1024x1024 JPEG, EfficientNet-Lite0", _LARGE, "image"),
    _image("image-500-resnet18", "500x375 JPEG, ResNet-18", _SMALL, "image-resnet18"),
    _image("image-1024-resnet18", "1024x1024 JPEG, ResNet-18", _LARGE, "image-resnet18"),
    Scenario("recommender-ml100k", "recommender", "MovieLens-100K, n=10", (16, 64), artifact_name="recommender"),
    Scenario("recommender-1m", "recommender", "1,000,000 items x 64, n=10", (16,), catalogue=1_000_000, length=4),
)
SCENARIO = {scenario.key: scenario for scenario in SCENARIOS}
