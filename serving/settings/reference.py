"""Settings in words: a value without its secrets, and the page of all settings."""

from __future__ import annotations

import json
import re
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr

from serving.settings.settings import PREFIX, Settings

# Of an address: redis://user:password@host
_PASSWORD = re.compile(r"(://[^/@:]*:)[^@/]*@")


def shown(value: object) -> str:
    """A setting's value as text, without the password of an address."""
    if isinstance(value, SecretStr):
        return str(value)
    if isinstance(value, tuple):
        return json.dumps(value)
    if value is None:
        return ""
    return _PASSWORD.sub(r"\1****@", str(value))


def markdown() -> str:
    """Every setting as a page: name, type, default, meaning."""
    lines = [
        "# Settings",
        "",
        "Made by `python -m serving.settings --markdown > docs/settings.md`; a test holds it to the code.",
        "",
        "Each is read from the environment, and from the file that `MAKUNOUCHI_ENV_FILE` names (lines of `NAME=value`;",
        "the environment wins). `python -m serving.settings` prints the effective ones, secrets masked. One that is",
        "unknown, or has a value that cannot be, stops the start and is named.",
        "",
        "| setting | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = shown(field.default) if not isinstance(field.default, SecretStr) else ""
        cells = (f"`{PREFIX}{name.upper()}`", _type_name(field.annotation), f"`{default}`" if default else "",
                 field.description or "")  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _type_name(annotation: Any) -> str:  # Any: whatever stands behind a field's colon
    if annotation is SecretStr:
        return "secret"
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "JSON list"
    if get_origin(annotation) is UnionType:
        return " or ".join("empty" if each is type(None) else _type_name(each) for each in get_args(annotation))
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true, false"}[annotation.__name__]
