"""Makes `import torchvision` work where its compiled operators cannot load, such as beside a CPU build of torch.

torchvision declares fake implementations of `nms` and `qnms` when it is imported and fails when the operators were
never declared. Classifiers use neither, so declaring their schemas is enough. Knows nothing of any model.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@functools.lru_cache(maxsize=1)
def declare() -> object:
    """Declare the two missing schemas, once, unless torchvision's own operators load. Returns what keeps them alive.

    Call it before the first `import torchvision`.
    """
    import torch

    if "torchvision" in sys.modules or _own_operators_load():
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}{_SCHEMA}")  # type: ignore[no-untyped-call]
    return library


def _own_operators_load() -> bool:
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    for path in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
        except (ImportError, OSError):
            continue
        return True
    return False
