"""Prints results as a Markdown table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.attack.run import Result

HEADER = """\
| scenario | time | attacker saw | others saw | worst `/livez` | gateway busy | memory |
|---|---|---|---|---|---|---|"""


def row(result: Result) -> str:
    """Return the table row of one result."""
    memory = ", ".join(
        f"{name.removesuffix('Runner')} {size_mb:.0f}" for name, size_mb in sorted(result.memory_mb.items())
    )
    cells = [
        result.name, f"{result.took_s:.1f} s", _counts(result.seen), _counts(result.others),
        f"{result.livez_ms:.0f} ms", f"{result.held_ms:.0f} ms", f"{memory} MB" if memory else "",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def details(results: Sequence[Result]) -> Iterator[str]:
    """Yield the measurements, the broken bars and the worst `/livez`."""
    for result in results:
        yield from (f"- {result.name}: {fact}" for fact in result.facts)
    for result in results:
        yield from (f"- BROKEN {result.name}: {what}" for what in result.broken)
    if worst := max(results, key=lambda each: each.livez_ms, default=None):
        yield f"\nworst /livez: {worst.livez_ms:.0f} ms ({worst.name})"
    broken = sum(len(each.broken) for each in results)
    yield f"{broken} bars are broken" if broken else "no bar is broken"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{number} x {what}" for what, number in sorted(counter.items()))
