"""What was to be reached, and what was: one line per bar, from a run's document. Knows numbers, measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.results import Document
from benchmarks.statistics import ratio

_PLACED = ("ours-process", "ours-inline")
_MANY_REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Bar:
    """`reached` is in the unit of `wanted`; None where it was not measured. `is_met` is None then as well."""

    what: str
    wanted: str
    reached: str | None
    is_met: bool | None
    basis: str = ""


def bars(document: Document) -> list[Bar]:
    """Every bar, in the order of the table."""
    return [
        _no_failures(document),
        _at_least(document, "overhead, process, c=64: x stock BentoML", "overhead", 64, "ours-process", "bentoml", 15),
        _at_least(document, "overhead, process, c=64: x LitServe", "overhead", 64, "ours-process", "litserve", 4),
        _at_least(document, "overhead, process, c=64: x MLServer", "overhead", 64, "ours-process", "mlserver", 4),
        _at_least(document, "overhead, process, c=64: x Mosec (a reach)", "overhead", 64, "ours-process", "mosec", 1),
        _overhead_latency(document),
        _at_least(document, "tabular, c=64: x FastAPI + scikit-learn", "tabular", 64, _PLACED, "fastapi-sklearn", 5),
        _every_peer(document),
        _at_least(
            document, "image 500x375, c=16: x FastAPI + torch", "image-500-lite0", 16, _PLACED, "fastapi-torch", 6
        ),
        _at_least(
            document,
            "image 500x375 in bfloat16, c=16: x FastAPI + torch",
            "image-500-lite0-bf16",
            16,
            _PLACED,
            "fastapi-torch",
            6,
        ),
        _bare_loop(document),
        _at_least(document, "1,000,000 items, c=16: x numpy per request", "recommender-1m", 16, _PLACED, "fastapi", 5),
        _tail(document),
        _growth(document),
    ]


def value(document: Document, scenario: str, target: str, connections: int, name: str = "per_s") -> float | None:
    """One median of a run, None where it was not measured."""
    targets = document.get("scenarios", {}).get(scenario, {}).get("targets", {})
    found = targets.get(target, {}).get("by_connections", {}).get(str(connections), {}).get(name)
    return None if found is None else float(found)


def _best(document: Document, scenario: str, connections: int, targets: tuple[str, ...]) -> tuple[float | None, str]:
    found = [
        (rate, target) for target in targets if (rate := value(document, scenario, target, connections)) is not None
    ]
    return max(found) if found else (None, "")


def _at_least(
    document: Document, what: str, scenario: str, connections: int, ours: str | tuple[str, ...], peer: str, times: float
) -> Bar:
    mine, which = _best(document, scenario, connections, (ours,) if isinstance(ours, str) else ours)
    theirs = value(document, scenario, peer, connections)
    reached = ratio(mine, theirs)
    if reached is None:
        # A peer that answered nothing at all is beaten by any factor.
        return Bar(
            what,
            f">= {times:g} x",
            "it answered nothing" if mine and theirs == 0 else None,
            True if mine and theirs == 0 else None,
        )
    return Bar(
        what, f">= {times:g} x", f"{reached:.1f} x", reached >= times, f"{which} {mine:,.0f}/s, {peer} {theirs:,.0f}/s"
    )


def _overhead_latency(document: Document) -> Bar:
    mine, theirs = (value(document, "overhead", target, 1, "p50") for target in ("ours-inline", "fastapi"))
    reached = ratio(mine, theirs)
    what, wanted = "overhead, inline, c=1: p50 against bare FastAPI", "<= 2 x"
    if reached is None:
        return Bar(what, wanted, None, None)
    return Bar(what, wanted, f"{reached:.2f} x", reached <= 2, f"{mine:.2f} ms, FastAPI {theirs:.2f} ms")


def _every_peer(document: Document) -> Bar:
    what, wanted = "tabular, c=64: against the best peer", ">= 1 x"
    mine, which = _best(document, "tabular", 64, _PLACED)
    targets = document.get("scenarios", {}).get("tabular", {}).get("targets", {})
    theirs, peer = _best(document, "tabular", 64, tuple(key for key in targets if key not in _PLACED))
    reached = ratio(mine, theirs)
    if reached is None:
        return Bar(what, wanted, None, None)
    return Bar(what, wanted, f"{reached:.2f} x", reached >= 1, f"{which} {mine:,.0f}/s, {peer} {theirs:,.0f}/s")


def _bare_loop(document: Document) -> Bar:
    what, wanted = "image 500x375, c=16: of a bare loop on the same cores", ">= 80 %"
    mine, which = _best(document, "image-500-lite0", 16, _PLACED)
    bound = document.get("bounds", {}).get("image-500-lite0", {}).get("images_per_s")
    reached = ratio(mine, bound)
    if reached is None:
        return Bar(what, wanted, None, None)
    return Bar(
        what, wanted, f"{reached:.0%}".replace("%", " %"), reached >= 0.8, f"{which} {mine:,.0f}/s, loop {bound:,.0f}/s"
    )


def _tail(document: Document) -> Bar:
    what, wanted = "tabular, c=16: p99 / p50", "<= 5"
    found = []
    for target in _PLACED:
        tail = ratio(*(value(document, "tabular", target, 16, name) for name in ("p99", "p50")))
        if tail is not None:
            found.append((tail, target))
    if not found:
        return Bar(what, wanted, None, None)
    worst, which = max(found)
    return Bar(what, wanted, f"{worst:.1f}", worst <= 5, f"the worse of both placements, {which}")


def _growth(document: Document) -> Bar:
    what, wanted = "memory after 1,000,000 requests against 10,000", "<= 1.05 x"
    measured = {key: one for key, one in document.get("growth", {}).items() if "points" in one}
    found = [(one["growth"], key) for key, one in measured.items() if one["points"][-1]["requests"] >= _MANY_REQUESTS]
    if not found:
        return Bar(what, wanted, None, None)
    worst, which = max(found)
    return Bar(what, wanted, f"{worst:.3f} x", worst <= 1.05, f"the worst of {len(found)}, {which}")


def _no_failures(document: Document) -> Bar:
    what, wanted = "failed or wrong requests of ours, every scenario", "0"
    parts = list(_counted(document))
    if not parts:
        return Bar(what, wanted, None, None)
    bad = sum(one["failed"] + one.get("wrong", 0) for one in parts)
    asked = sum(one["requests"] if "requests" in one else one.get("due", 0) for one in parts)
    absent = [f"{scenario}/{key}" for scenario, key, target in _ours(document) if "missing" in target]
    basis = f"of {asked:,}" + (f"; did not start: {', '.join(absent)}" if absent else "")
    return Bar(what, wanted, f"{bad:,}", bad == 0 and not absent, basis)


def _counted(document: Document) -> Iterator[Document]:
    """Everything of ours that counts failures: closed loops, open loops, sweeps, growth."""
    for _, _, target in _ours(document):
        yield from target.get("by_connections", {}).values()
    for scenario in document.get("open_loop", {}).values():
        for key, rates in scenario.items():
            if key.startswith("ours"):
                yield from _with_failures(rates)
    for sweep in document.get("sweeps", {}).values():
        yield from _with_failures(sweep)
        for one in sweep.values():
            yield from _with_failures(one)
    yield from _with_failures(document.get("growth", {}))


def _with_failures(parts: Any) -> list[Document]:
    found = parts.values() if isinstance(parts, dict) else ()
    return [one for one in found if isinstance(one, dict) and "failed" in one]


def _ours(document: Document) -> Iterator[tuple[str, str, Document]]:
    for scenario, measured in document.get("scenarios", {}).items():
        for key, target in measured.get("targets", {}).items():
            if key.startswith("ours"):
                yield scenario, key, target
