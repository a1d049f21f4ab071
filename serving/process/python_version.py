"""The oldest Python of each minor version that is without the known vulnerabilities of its standard library."""

from __future__ import annotations

import sys
from typing import Final

# CVE-2024-6232: a header of a tar takes quadratic time, during which no other thread runs.
_FIXED: Final = {(3, 11): (3, 11, 10, "final"), (3, 12): (3, 12, 6, "final"), (3, 13): (3, 13, 0, "final")}


def python_warnings(version: tuple[int, int, int, str] = sys.version_info[:4]) -> list[str]:
    """Return a warning for an operator if this Python has a known vulnerability."""
    fixed = _FIXED.get(version[:2])
    if fixed is None or version >= fixed:
        return []
    running, wanted = (".".join(map(str, numbers[:3])) for numbers in (version, fixed))
    return [f"Python {running} has the vulnerability CVE-2024-6232; update to {wanted} or later"]
