"""User-defined classes, which ship with the service and are named as `package.module:Class`."""

from __future__ import annotations

import importlib
from typing import Any

from models.errors import ArtifactInvalid, text_of


def import_class(reference: str) -> type[Any]:
    """Return the class `package.module:Class`. Raises ArtifactInvalid that names what is missing."""
    module_name, _, class_name = reference.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
        raise ArtifactInvalid(f"'{reference}' does not name a class; expected package.module:Class")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ArtifactInvalid(
            f"class '{reference}' cannot be imported: no module '{error.name}'; it has to be in the folder of "
            "service.py, in a folder of PYTHONPATH, or installed"
        ) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {text_of(error)}"
        raise ArtifactInvalid(f"class '{reference}' cannot be imported: {reason}") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        known = ", ".join(name for name, each in vars(module).items() if _is_own(each, module_name)) or "none"
        raise ArtifactInvalid(f"no class '{class_name}' in module '{module_name}'; its classes: {known}")
    return found


def _is_own(each: object, module_name: str) -> bool:
    return isinstance(each, type) and each.__module__ == module_name
