"""RESULTS.md and its plots, generated from the JSON document of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import plots, report_tables, results
from benchmarks.results import Document, connections
from benchmarks.thresholds import metric

_FOLDER = Path(__file__).parent
RESULTS = _FOLDER / "RESULTS.md"
PLOTS = _FOLDER / "plots"
_SWEEPS = {"rows": "rows per request", "catalogue": "items in the catalogue"}
_PREFERRED_CONNECTIONS = 64


def publish(document: Document) -> Path:
    """Write results.json, the plots and RESULTS.md, and return the path of RESULTS.md."""
    PLOTS.mkdir(exist_ok=True)
    results.publish(document)
    for name, plot in draw(document):
        (PLOTS / f"{name}.svg").write_text(plot)
    RESULTS.write_text(markdown(document))
    return RESULTS


def draw(document: Document) -> Iterator[tuple[str, str]]:
    """Yield each plot as (name, SVG)."""
    for key, scenario in document.get("scenarios", {}).items():
        counts = connections(scenario)
        if counts:
            count = _PREFERRED_CONNECTIONS if _PREFERRED_CONNECTIONS in counts else counts[-1]
            rates = [
                (target, rate, f"{rate:,.0f}")
                for target in scenario["targets"]
                if (rate := metric(document, key, target, count)) is not None
            ]
            rates.sort(key=lambda bar: -bar[1])
            yield key, plots.bar_chart(f"{scenario['title']}, {count} connections", rates, unit="requests/s")
    for key, axis in _SWEEPS.items():
        sweep = document.get("sweeps", {}).get(key, {})
        if sweep and "missing" not in sweep:
            lines = {
                "requests/s": [(float(size), load["per_s"]) for size, load in sweep.items()],
                "p99 in ms": [(float(size), load["p99"]) for size, load in sweep.items() if "p99" in load],
            }
            if key == "rows":
                lines["rows/s"] = [(float(size), load["rows_per_s"]) for size, load in sweep.items()]
            yield f"sweep-{key}", plots.line_chart(f"Throughput and latency by {axis}", lines, x_label=axis)


def markdown(document: Document) -> str:
    """Return the page RESULTS.md."""
    parts = report_tables.head(document) + report_tables.threshold_table(document)
    for key, scenario in document.get("scenarios", {}).items():
        parts += report_tables.scenario_table(document, key, scenario)
    for section in report_tables.SECTIONS:
        parts += section(document)
    return "\n".join(parts).rstrip() + "\n"
