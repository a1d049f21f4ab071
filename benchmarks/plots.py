"""Bars and lines as small SVG files, written by hand: no plotting library for a handful of pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH = 720
_ROW, _LABEL, _VALUE, _TOP = 22, 170, 110, 34
_OURS, _THEIRS, _INK, _GRID = "#b5341f", "#8a94a6", "#20242c", "#d9dde4"
_COLOURS = ("#b5341f", "#2b6cb0", "#2f855a", "#b7791f", "#6b46c1", "#4a5568")
_FONT = 'font-family="system-ui, sans-serif" font-size="12"'


def bar_chart(title: str, values: Sequence[tuple[str, float, str]], *, unit: str) -> str:
    """Horizontal bars: (name, value, what is printed behind it). Names that begin with "ours" stand out."""
    height = _TOP + _ROW * len(values) + 10
    largest = max((value for _, value, _ in values), default=1) or 1
    room = _WIDTH - _LABEL - _VALUE
    parts = [_text(10, 20, f"{title} ({unit})", weight="600")]
    for number, (name, value, shown) in enumerate(values):
        y = _TOP + number * _ROW
        length = max(1.0, room * value / largest)
        colour = _OURS if name.startswith("ours") else _THEIRS
        parts.append(_text(_LABEL - 8, y + 14, name, anchor="end"))
        parts.append(f'<rect x="{_LABEL}" y="{y + 2}" width="{length:.1f}" height="{_ROW - 6}" fill="{colour}"/>')
        parts.append(_text(_LABEL + length + 6, y + 14, shown))
    return _picture(height, parts)


def line_chart(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str, y_label: str) -> str:
    """Lines over two logarithmic axes. Values have to be above 0; others are left out."""
    points = {name: [(x, y) for x, y in line if x > 0 and y > 0] for name, line in lines.items()}
    points = {name: line for name, line in points.items() if line}
    if not points:
        return _picture(60, [_text(10, 20, f"{title}: nothing measured")])
    height, left, right, top, bottom = 320, 70, 150, 40, 46
    xs = [math.log10(x) for line in points.values() for x, _ in line]
    ys = [math.log10(y) for line in points.values() for _, y in line]
    x_low, x_high, y_low, y_high = min(xs), max(xs), math.floor(min(ys)), math.ceil(max(ys) + 1e-9)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_low) / ((x_high - x_low) or 1)
        up = (math.log10(y) - y_low) / ((y_high - y_low) or 1)
        return left + across * (_WIDTH - left - right), height - bottom - up * (height - top - bottom)

    parts = [_text(10, 20, title, weight="600")]
    for power in range(y_low, y_high + 1):
        _, y = place(10**x_low, 10**power)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{_WIDTH - right}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(left - 6, y + 4, f"{10.0**power:,g}", anchor="end"))
    ticks = sorted({x for line in points.values() for x, _ in line})
    parts += [_text(place(x, 10**y_low)[0], height - bottom + 16, f"{x:,g}", anchor="middle") for x in ticks]
    parts.append(_text(left, height - 8, f"{x_label}; up: {y_label}"))
    for number, (name, line) in enumerate(points.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        placed = [place(x, y) for x, y in sorted(line)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        parts.append(_text(_WIDTH - right + 10, top + 10 + number * 18, name, colour=colour))
    return _picture(height, parts)


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "400", colour: str = _INK) -> str:
    style = f'fill="{colour}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _picture(height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" {_FONT}>'
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>', *parts, "</svg>\n"])
