"""Bar and line charts as SVG. The same data produce the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import matplotlib as mpl
from matplotlib.figure import Figure

_OURS, _PEERS, _GRID = "#b5341f", "#8a94a6", "#d9dde4"
_COLOURS = ("#b5341f", "#2b6cb0", "#2f855a", "#b7791f", "#6b46c1", "#4a5568")
_METADATA = {"Date": None, "Creator": None}
_WIDTH_IN = 7.5


def bar_chart(title: str, values: Sequence[tuple[str, float, str]], *, unit: str) -> str:
    """Draw horizontal bars of (name, value, label). Names that start with "ours" are highlighted."""
    if not values:
        return _empty(title)
    with _style():
        figure = Figure(figsize=(_WIDTH_IN, 0.9 + 0.27 * len(values)), layout="constrained")
        axes = figure.add_subplot()
        names = [name for name, _, _ in values]
        colours = [_OURS if name.startswith("ours") else _PEERS for name in names]
        bars = axes.barh(names, [value for _, value, _ in values], color=colours)
        axes.bar_label(bars, labels=[label for _, _, label in values], padding=4)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_title(title, loc="left")
        axes.set_xlabel(unit)
        axes.xaxis.set_major_formatter(_number)
        axes.spines[["top", "right"]].set_visible(False)
        return _svg(figure)


def line_chart(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str) -> str:
    """Draw lines of (x, y) on two logarithmic axes. Points that are not positive are skipped."""
    points = {name: sorted((x, y) for x, y in line if x > 0 and y > 0) for name, line in lines.items()}
    points = {name: line for name, line in points.items() if line}
    if not points:
        return _empty(title)
    with _style():
        figure = Figure(figsize=(_WIDTH_IN, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for (name, line), colour in zip(points.items(), _COLOURS, strict=False):
            axes.plot([x for x, _ in line], [y for _, y in line], marker="o", color=colour, label=name)
        ticks = sorted({x for line in points.values() for x, _ in line})
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(ticks, [_number(x) for x in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(_number)
        axes.grid(axis="y", color=_GRID)
        axes.set_title(title, loc="left")
        axes.set_xlabel(x_label)
        figure.legend(loc="outside right upper")
        return _svg(figure)


def _style() -> AbstractContextManager[None]:
    # A fixed salt makes element ids reproducible; text elements instead of glyph outlines keep the files small.
    return mpl.rc_context(
        {"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9.0, "axes.titlesize": 10.0}
    )


def _number(value: float, _: float = 0) -> str:
    return f"{value:,.10g}"


def _empty(title: str) -> str:
    with _style():
        figure = Figure(figsize=(_WIDTH_IN, 0.6))
        figure.text(0.02, 0.5, f"{title}: not measured")
        return _svg(figure)


def _svg(figure: Figure) -> str:
    output = io.StringIO()
    figure.savefig(output, format="svg", metadata=_METADATA)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()) + "\n"
