"""A Python with a known vulnerability is named."""

from __future__ import annotations

import pytest

from serving.process.python_version import python_warnings


@pytest.mark.parametrize("version", [(3, 11, 9, "final"), (3, 12, 5, "final"), (3, 13, 0, "candidate")])
def test_a_python_with_a_known_vulnerability_is_named_with_the_fix(version: tuple[int, int, int, str]) -> None:
    (warning,) = python_warnings(version)
    assert f"Python {version[0]}.{version[1]}.{version[2]} " in warning
    assert "CVE-2024-6232" in warning
    assert "update to" in warning


@pytest.mark.parametrize(
    "version",
    [(3, 11, 10, "final"), (3, 12, 6, "final"), (3, 13, 0, "final"), (3, 13, 1, "final"), (3, 14, 0, "final")],
)
def test_a_fixed_python_is_not_named(version: tuple[int, int, int, str]) -> None:
    assert python_warnings(version) == []
