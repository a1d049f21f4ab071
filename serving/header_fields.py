"""Values of HTTP header fields: lists, parameters and weights (RFC 9110, 5.6 and 12.4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

# A comma or a semicolon in a quoted string separates nothing. A string without its end reaches to the end of the value.
_QUOTED: Final = r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
_ELEMENT: Final = re.compile(rf'(?:[^",]|{_QUOTED})++')
_PARAMETER: Final = re.compile(rf'(?:[^";]|{_QUOTED})++')
_ESCAPE: Final = re.compile(r"\\(.)")
_WEIGHT: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_ENTITY_TAG: Final = re.compile(r'(?:W/)?"[^"]*"')


def elements(values: Iterable[str]) -> Iterator[str]:
    """Yield the elements of a list, whose header may be sent in several lines `values`. Empty ones are left out."""
    for value in values:
        for match in _ELEMENT.finditer(value):
            if element := match[0].strip():
                yield element


def parameters(element: str) -> tuple[str, dict[str, str]]:
    """Return the value before the first semicolon, and its parameters by name in lower case, the first of each name.

    `form-data; name="a;b"` has the value `form-data` and the parameter `name` with `a;b`.
    """
    value, *pairs = [match[0].strip() for match in _PARAMETER.finditer(element)] or [""]
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, content = pair.partition("=")
        found.setdefault(name.strip().lower(), unquoted(content.strip()))
    return value, found


def media_type(content_type: str) -> str:
    """Return the media type in the value of a Content-Type, in lower case and without parameters."""
    return content_type.partition(";")[0].strip().lower()


def weights(values: Iterable[str]) -> dict[str, float]:
    """Return the weight of each element, in lower case and without parameters. One that is not valid counts as 1."""
    found: dict[str, float] = {}
    for element in elements(values):
        value, given = parameters(element)
        weight = given.get("q", "1")
        found[value.lower()] = float(weight) if _WEIGHT.fullmatch(weight) else 1.0
    return found


def entity_tags(values: Iterable[str]) -> set[str]:
    """Return the entity tags of a list without their `W/`: they are compared weakly (RFC 9110, 8.8.3.2)."""
    return {match[0].removeprefix("W/") for value in values for match in _ENTITY_TAG.finditer(value)}


def unquoted(text: str) -> str:
    """Return the content of a quoted string, or a token as it is."""
    if not text.startswith('"'):
        return text
    return _ESCAPE.sub(r"\1", text[1:-1] if len(text) > 1 and text.endswith('"') else text[1:])
