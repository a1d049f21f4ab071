"""Console output of training runs, and the report that is saved with an artifact: its card as a Markdown page."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from models.card import Card, Metrics, write_card

REPORT_FILE = "report.md"
# Of a wide table. Slices of all its inputs take long and are too many to read.
MAX_SLICED_INPUTS = 100

console = Console(stderr=True, highlight=False)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print the title of a step when it begins, and its duration when it ends."""
    started = time.perf_counter()
    console.print(f"[bold]>[/bold] {escape(title)}", soft_wrap=True)
    yield
    console.print(f"  done in {time.perf_counter() - started:.1f} s")


def note(text: str) -> None:
    """Print one line about a step, as it is: brackets in names are no markup."""
    console.print(f"  {text}", markup=False, soft_wrap=True)


def library_versions(*names: str) -> dict[str, str]:
    """Return the installed versions of distributions, for the card."""
    return {name: importlib.metadata.version(name) for name in names}


def write_report(card: Card, folder: Path) -> None:
    """Write `report.md` and `card.json` into an artifact's folder."""
    (folder / REPORT_FILE).write_text(markdown(card), encoding="utf-8")
    write_card(card, folder)


def print_summary(card: Card, *, tag: str, folder: Path) -> None:
    """Print the tag, the metrics and the path of the report on standard output."""
    print(f"saved {tag}  ({card.algorithm}, {card.task})")
    print("  " + "  ".join(f"{name} {value:.4g}" for name, value in card.metrics.items()))
    if card.parity:
        print(f"  {card.parity.runtime} against {card.parity.reference}: {_parity_line(card)}")
    print(f"  report: {folder / REPORT_FILE}")


def markdown(card: Card) -> str:
    """Return the card as a Markdown page."""
    parts = [f"# {card.name}", card.description, f"{card.task}, {card.algorithm}, {card.created:%Y-%m-%d %H:%M} UTC"]
    parts.append(f"Data: {card.data.name}, {card.data.rows:,} rows, SHA-256 `{card.data.sha256[:16]}`")
    parts += ["## Metrics", _table({"overall": card.metrics})]
    if card.slices:
        parts.append("## Slices")
        if len(card.inputs) > MAX_SLICED_INPUTS:
            parts.append(f"Of the {MAX_SLICED_INPUTS} inputs with the largest importance:")
        parts.append(_table(card.slices))
    if card.parity:
        parts += ["## Runtime", f"{card.parity.runtime} against {card.parity.reference}: {_parity_line(card)}"]
    if card.calibration:
        parts += ["## Calibration", _table(_calibration_rows(card))]
    if card.importance:
        parts += ["## Importance", "Drop of the main metric when one input is shuffled:"]
        parts += ["\n".join(f"- `{name}` {drop:.4f}" for name, drop in card.importance.items())]
    if card.inputs:
        parts += ["## Inputs", "\n".join(f"- `{c.name}` ({c.kind}) {c.description}".rstrip() for c in card.inputs)]
    if card.params:
        parts += ["## Parameters", "\n".join(f"- {name}: {value}" for name, value in card.params.items())]
    if card.libraries:
        parts += ["## Libraries", ", ".join(f"{name} {version}" for name, version in card.libraries.items())]
    return "\n\n".join(part for part in parts if part) + "\n"


def _parity_line(card: Card) -> str:
    parity = card.parity
    if parity is None:
        return ""
    agreement = "" if parity.top1_agreement is None else f"top-1 agreement {parity.top1_agreement:.2%}, "
    return f"{agreement}largest difference {parity.max_difference:.2e} over {parity.rows:,} rows"


def _calibration_rows(card: Card) -> dict[str, Metrics]:
    return {
        f"{bin_.lower:.1f} to {bin_.upper:.1f}": {
            "rows": bin_.rows,
            "mean probability": bin_.mean_probability,
            "observed share": bin_.observed_share,
        }
        for bin_ in card.calibration
    }


def _table(rows: Mapping[str, Metrics]) -> str:
    names = list(dict.fromkeys(name for metrics in rows.values() for name in metrics))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for label, metrics in rows.items():
        cells = [f"{metrics[name]:.4g}" if name in metrics else "" for name in names]
        lines.append("| " + label.replace("|", "\\|") + " | " + " | ".join(cells) + " |")
    return "\n".join(lines)
