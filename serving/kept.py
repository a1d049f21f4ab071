"""What administrators changed at run time, as one host keeps it: pinned versions, and plans of the traffic.

Knows names and versions, no artifacts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from models.errors import ArtifactError
from serving.pins import Pins, state_folder
from serving.plans import Plans
from serving.slot import Start

log = logging.getLogger("makunouchi.traffic")


class Kept:
    """`pins` and `plans`, in the folder of a setting, or beside the model store when it is empty."""

    def __init__(self, setting: str) -> None:
        folder = state_folder(setting)
        self.pins = Pins(folder / "pins")
        self.plans = Plans(folder / "traffic")

    def start(self, tag: str, find: Callable[[str], object]) -> Start:
        """What a runner of the model `tag` starts with. `find` raises ArtifactError for what is not usable."""
        beside = []
        for version in self.plans.read(tag.partition(":")[0]).plan.versions:
            try:
                find(version)
            except ArtifactError as error:
                log.error("version %s of %s is not held: %s", version, tag, error)
            else:
                beside.append(version)
        return Start(self.pins.version(tag, find), tuple(beside))
