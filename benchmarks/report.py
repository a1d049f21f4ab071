"""RESULTS.md and its plots, from the JSON of a run. Writes what is in the document; where something is missing, why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import container, plots
from benchmarks.bars import bars, value
from benchmarks.results import Document, connections, keep, without_folders

_FOLDER = Path(__file__).parent
RESULTS = _FOLDER / "RESULTS.md"
PLOTS = _FOLDER / "plots"
_MADE_BY = "make bench"


def publish(document: Document) -> Path:
    """Write results.json, the plots and RESULTS.md; the path of the last."""
    PLOTS.mkdir(exist_ok=True)
    keep(document)
    for name, picture in pictures(document):
        (PLOTS / f"{name}.svg").write_text(picture)
    RESULTS.write_text(markdown(document))
    return RESULTS


def pictures(document: Document) -> Iterator[tuple[str, str]]:
    """Every plot as (name, SVG)."""
    for key, scenario in document.get("scenarios", {}).items():
        counts = connections(scenario)
        if counts:
            count = 64 if 64 in counts else counts[-1]
            rates = [
                (target, rate, f"{rate:,.0f}")
                for target in scenario["targets"]
                if (rate := value(document, key, target, count)) is not None
            ]
            rates.sort(key=lambda one: -one[1])
            yield key, plots.bar_chart(f"{scenario['title']}, {count} connections", rates, unit="answers a second")
    for key, axis in (("rows", "rows a request"), ("catalogue", "items in the catalogue")):
        sweep = document.get("sweeps", {}).get(key, {})
        if sweep and "missing" not in sweep:
            lines = {
                "answers/s": [(float(size), one["per_s"]) for size, one in sweep.items()],
                "p99 ms": [(float(size), one["p99"]) for size, one in sweep.items() if "p99" in one],
            }
            if key == "rows":
                lines["rows/s"] = [(float(size), one["rows_per_s"]) for size, one in sweep.items()]
            yield f"sweep-{key}", plots.line_chart(f"ours, by {axis}", lines, x_label=axis, y_label="see colours")


def markdown(document: Document) -> str:
    """The whole page."""
    parts = [*_head(document), *_bar_table(document)]
    for key, scenario in document.get("scenarios", {}).items():
        parts += _scenario(document, key, scenario)
    for section in (_open_loop, _sweeps, _starts, container.lines, _memory, _growth, _peers):
        parts += section(document)
    return "\n".join(parts).rstrip() + "\n"


def _head(document: Document) -> list[str]:
    machine, options = document["machine"], document.get("options", {})
    return [
        "# Benchmark",
        "",
        f"Made by `{_MADE_BY}`; do not edit. How it is measured: [docs/benchmarks.md](../docs/benchmarks.md).",
        "",
        f"{machine['cpu']}, {machine['cores']} cores with the load generator on them, {machine['memory_gb']} GB, "
        f"{machine['system']}, Python {machine['python']}, {document.get('load_generator', 'wrk')}. "
        f"Revision {machine['revision']}, {machine['date']}, load before {machine['load_before']:.2f}. "
        f"Medians of {options.get('rounds', '?')} rounds of {options.get('seconds', '?')} s (images twice that, "
        "the large catalogue four times).",
        "",
    ]


def _bar_table(document: Document) -> list[str]:
    rows = ["## Bars", "", "| what | bar | reached | met | from |", "|---|---|---|---|---|"]
    for bar in bars(document):
        met = {True: "yes", False: "**no**", None: "not measured"}[bar.is_met]
        rows.append(f"| {bar.what} | {bar.wanted} | {bar.reached or ''} | {met} | {bar.basis} |")
    return [*rows, ""]


def _scenario(document: Document, key: str, scenario: Document) -> list[str]:
    lines = [f"## {scenario['title']}", ""]
    if "missing" in scenario:
        return [*lines, f"Not measured: {_line(scenario['missing'])}", ""]
    counts = connections(scenario)
    if counts:
        lines += [f"![{scenario['title']}](plots/{key}.svg)", ""]
    heads = [f"c={count}" for count in counts]
    lines.append(
        "| server | " + " | ".join(f"{head} /s | p50 ms | p99 ms" for head in heads) + " | failed | wrong | start s |"
    )
    lines.append("|---|" + "--:|" * (3 * len(heads) + 3))
    for name, target in scenario.get("targets", {}).items():
        if "missing" in target:
            continue
        cells = [cell for count in counts for cell in _cells(target["by_connections"].get(str(count), {}))]
        loads = target["by_connections"].values()
        failed, wrong = (sum(load.get(kind, 0) for load in loads) for kind in ("failed", "wrong"))
        shown = f"{name} ({target['note']})" if target.get("note") else name
        lines.append(f"| {shown} | {' | '.join(cells)} | {failed:,} | {wrong} | {target['start_s']:.1f} |")
    bound = document.get("bounds", {}).get(key, {})
    if "images_per_s" in bound:
        lines += [
            "",
            f"Decoding and OpenVINO in a bare loop on the same cores: {bound['images_per_s']:,.1f} images a second.",
        ]
    missing = {name: target["missing"] for name, target in scenario.get("targets", {}).items() if "missing" in target}
    lines += ["", *(f"Not measured: {name}: {_line(why)}" for name, why in missing.items())]
    return [*lines, *_measured_apart(document, f"scenarios/{key}"), ""]


def _cells(load: Document) -> list[str]:
    rate = load.get("per_s")
    return [
        "" if rate is None else f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}",
        *("" if load.get(name) is None else f"{load[name]:.2f}" for name in ("p50", "p99")),
    ]


def _open_loop(document: Document) -> list[str]:
    scenarios = document.get("open_loop", {})
    if not scenarios:
        return []
    lines = ["## Fixed rates", "", "Milliseconds from the moment a request was due, without coordinated omission.", ""]
    lines += [
        "| scenario | server | rate /s | p50 | p90 | p99 | p99.9 | failed | generator late, p99 |",
        "|---|---|" + "--:|" * 7,
    ]
    for key, targets in scenarios.items():
        for name, rates in targets.items():
            if not isinstance(rates, dict) or "missing" in rates:
                continue
            for rate, one in rates.items():
                cells = " | ".join(f"{one[part]:.2f}" for part in ("p50", "p90", "p99", "p99.9"))
                bad = one["failed"] + one["wrong"]
                lines.append(f"| {key} | {name} | {rate} | {cells} | {bad} | {one['sent_late_p99']:.2f} |")
    return [*lines, ""]


def _sweeps(document: Document) -> list[str]:
    sweeps = document.get("sweeps", {})
    lines = ["## Scaling", ""] if sweeps else []
    titles = {"rows": "rows a request, up to 16 connections", "catalogue": "items in the catalogue, 16 connections"}
    for key, title in titles.items():
        sweep = sweeps.get(key)
        if not sweep or "missing" in sweep:
            lines += [f"Not measured: {key}: {_line(sweep['missing'])}", ""] if sweep else []
            continue
        lines += [
            f"![{title}](plots/sweep-{key}.svg)",
            "",
            f"| {title} | answers/s | rows/s | p50 ms | p99 ms | failed |",
        ]
        lines.append("|--:|" + "--:|" * 5)
        for size, one in sweep.items():
            latencies = " | ".join(f"{one[name]:.2f}" if name in one else "" for name in ("p50", "p99"))
            lines.append(
                f"| {int(size):,} | {one['per_s']:,.1f} | {one['rows_per_s']:,.0f} | {latencies} | {one['failed']} |"
            )
        lines.append("")
    gateways = sweeps.get("gateways")
    if gateways and "missing" not in gateways:
        lines += ["| gateways | server | answers/s, tabular, c=64 | p99 ms | failed |", "|--:|---|--:|--:|--:|"]
        for count, targets in gateways.items():
            for name, one in targets.items():
                lines.append(f"| {count} | {name} | {one['per_s']:,.0f} | {one.get('p99', 0):.2f} | {one['failed']} |")
        lines.append("")
    return lines


def _starts(document: Document) -> list[str]:
    starts = {
        name: one for name, one in document.get("starts", {}).items() if isinstance(one, dict) and "cold_s" in one
    }
    if not starts:
        return []
    lines = [
        "## Start",
        "",
        "Seconds to the first right answer, tabular scenario; cold: files evicted from the page cache.",
        "",
    ]
    lines += ["| server | cold s | warm s |", "|---|--:|--:|"]
    lines += [f"| {name} | {one['cold_s']:.1f} | {one['warm_s']:.1f} |" for name, one in starts.items()]
    return [*lines, ""]


def _memory(document: Document) -> list[str]:
    lines = ["## Memory", "", "Proportional set size after the rounds, all processes of a server.", ""]
    lines += ["| scenario | server | MB | by process |", "|---|---|--:|---|"]
    found = False
    for key, scenario in document.get("scenarios", {}).items():
        for name, target in scenario.get("targets", {}).items():
            memory = target.get("memory_bytes")
            if memory:
                found = True
                sizes = sorted((size / 1e6 for size in memory.values() if size > 5e6), reverse=True)
                each = ", ".join(f"{size:,.0f}" for size in sizes)
                lines.append(f"| {key} | {name} | {sum(memory.values()) / 1e6:,.0f} | {each} |")
    return [*lines, ""] if found else []


def _growth(document: Document) -> list[str]:
    growth = {key: one for key, one in document.get("growth", {}).items() if "points" in one}
    if not growth:
        return []
    lines = [
        "## Memory over many requests",
        "",
        "By `make bench-memory`.",
        "",
        "| what | requests | MB | requests | MB | growth | failed |",
    ]
    lines.append("|---|" + "--:|" * 6)
    for key, one in growth.items():
        first, last = one["points"][0], one["points"][-1]
        cells = " | ".join(f"{point['requests']:,} | {point['bytes'] / 1e6:,.1f}" for point in (first, last))
        lines.append(f"| {key} | {cells} | {one['growth']:.3f} | {one['failed']} |")
    return [*lines, ""]


def _peers(document: Document) -> list[str]:
    lines = ["## Versions", "", "| who | versions |", "|---|---|"]
    ours = ", ".join(f"{name} {found}" for name, found in document["machine"]["versions"].items())
    lines.append(f"| ours | {ours} |")
    for peer, found in document.get("peers", {}).items():
        if "missing" in found:
            lines.append(f"| {peer} | cannot be installed: {_line(found['missing'])} |")
        else:
            lines.append(f"| {peer} | {', '.join(f'{name} {number}' for name, number in found['versions'].items())} |")
    return [*lines, ""]


def _measured_apart(document: Document, part: str) -> list[str]:
    made = document.get("made", {}).get(part)
    machine = document["machine"]
    is_apart = made and made != f"{machine['revision']}, {machine['date']}"
    return ["", f"Measured apart: revision {made}."] if is_apart else []


def _line(text: str) -> str:
    """One line of a table."""
    return without_folders(" ".join(text.split()).replace("|", "/"))[:240]
