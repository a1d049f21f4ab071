"""Declares operators that `import torchvision` needs when its compiled operators cannot load.

This is the case with a CPU build of torch. At import torchvision registers fake implementations of `nms` and `qnms` and
fails when these operators are not declared. Classifiers use neither, so that declaring their schemas is sufficient.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@functools.lru_cache(maxsize=1)
def declare() -> object:
    """Declare the two missing schemas once, unless the operators of torchvision load.

    Return the object that keeps the declarations alive. Call it before the first `import torchvision`.
    """
    import torch

    if "torchvision" in sys.modules or _operators_load():
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}{_SCHEMA}")  # type: ignore[no-untyped-call]
    return library


def _operators_load() -> bool:
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
