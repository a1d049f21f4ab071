"""Performance thresholds, and the results of a run compared with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.results import Document
from benchmarks.statistics import ratio

_PROCESS, _INLINE = "ours-process", "ours-inline"
_PLACEMENTS = (_PROCESS, _INLINE)
_MIN_REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold and its result. `result` and `is_met` are None if it was not measured."""

    measure: str
    limit: str
    result: str | None = None
    is_met: bool | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class _Factor:
    """Throughput of the service, at least `times` that of a peer."""

    measure: str
    scenario: str
    connections: int
    peer: str
    times: float
    placements: tuple[str, ...] = _PLACEMENTS


_FACTORS = (
    _Factor("overhead, process, c=64: throughput vs. stock BentoML", "overhead", 64, "bentoml", 15, (_PROCESS,)),
    _Factor("overhead, process, c=64: throughput vs. LitServe", "overhead", 64, "litserve", 4, (_PROCESS,)),
    _Factor("overhead, process, c=64: throughput vs. MLServer", "overhead", 64, "mlserver", 4, (_PROCESS,)),
    _Factor("overhead, process, c=64: throughput vs. Mosec (stretch goal)", "overhead", 64, "mosec", 1, (_PROCESS,)),
    _Factor("tabular, c=64: throughput vs. FastAPI + scikit-learn", "tabular", 64, "fastapi-sklearn", 5),
    _Factor("image 500x375, c=16: throughput vs. FastAPI + torch", "image-500-lite0", 16, "fastapi-torch", 6),
    _Factor(
        "image 500x375 in bfloat16, c=16: throughput vs. FastAPI + torch",
        "image-500-lite0-bf16",
        16,
        "fastapi-torch",
        6,
    ),
    _Factor("1,000,000 items, c=16: throughput vs. FastAPI + numpy", "recommender-1m", 16, "fastapi", 5),
)


def thresholds(document: Document) -> list[Threshold]:
    """Return all thresholds in the order of the report."""
    return [
        _failures(document),
        *(_factor(document, factor) for factor in _FACTORS),
        _best_peer(document),
        _hardware_limit(document),
        _overhead_latency(document),
        _tail_latency(document),
        _memory_growth(document),
    ]


def metric(document: Document, scenario: str, target: str, connections: int, name: str = "per_s") -> float | None:
    """Return a median of a run, or None if it was not measured."""
    targets = document.get("scenarios", {}).get(scenario, {}).get("targets", {})
    value = targets.get(target, {}).get("by_connections", {}).get(str(connections), {}).get(name)
    return None if value is None else float(value)


def _best(document: Document, scenario: str, connections: int, targets: tuple[str, ...]) -> tuple[float | None, str]:
    rates = [
        (rate, target) for target in targets if (rate := metric(document, scenario, target, connections)) is not None
    ]
    return max(rates) if rates else (None, "")


def _factor(document: Document, factor: _Factor) -> Threshold:
    limit = f">= {factor.times:g} x"
    ours, target = _best(document, factor.scenario, factor.connections, factor.placements)
    theirs = metric(document, factor.scenario, factor.peer, factor.connections)
    result = ratio(ours, theirs)
    if result is not None:
        source = f"{target} {ours:,.0f}/s, {factor.peer} {theirs:,.0f}/s"
        hardware = ratio(_images_per_s(document, factor.scenario), theirs)
        source += "" if hardware is None else f", hardware limit {hardware:.1f} x"
        return Threshold(factor.measure, limit, f"{result:.1f} x", result >= factor.times, source)
    if ours and theirs == 0:
        return Threshold(factor.measure, limit, "the peer has no successful request", True)
    return Threshold(factor.measure, limit)


def _images_per_s(document: Document, scenario: str) -> float | None:
    """Return the throughput of decoding and inference without a server, or None if it was not measured."""
    value = document.get("bounds", {}).get(scenario, {}).get("images_per_s")
    return None if value is None else float(value)


def _overhead_latency(document: Document) -> Threshold:
    measure, limit = "overhead, inline, c=1: p50 vs. FastAPI", "<= 2 x"
    ours, theirs = (metric(document, "overhead", target, 1, "p50") for target in (_INLINE, "fastapi"))
    result = ratio(ours, theirs)
    if result is None:
        return Threshold(measure, limit)
    return Threshold(measure, limit, f"{result:.2f} x", result <= 2, f"{ours:.2f} ms, FastAPI {theirs:.2f} ms")


def _best_peer(document: Document) -> Threshold:
    measure, limit = "tabular, c=64: throughput vs. the best peer", ">= 1 x"
    ours, target = _best(document, "tabular", 64, _PLACEMENTS)
    targets = document.get("scenarios", {}).get("tabular", {}).get("targets", {})
    theirs, peer = _best(document, "tabular", 64, tuple(key for key in targets if key not in _PLACEMENTS))
    result = ratio(ours, theirs)
    if result is None:
        return Threshold(measure, limit)
    return Threshold(measure, limit, f"{result:.2f} x", result >= 1, f"{target} {ours:,.0f}/s, {peer} {theirs:,.0f}/s")


def _hardware_limit(document: Document) -> Threshold:
    measure, limit = "image 500x375, c=16: throughput vs. decoding and inference in a loop", ">= 80 %"
    ours, target = _best(document, "image-500-lite0", 16, _PLACEMENTS)
    loop = _images_per_s(document, "image-500-lite0")
    result = ratio(ours, loop)
    if result is None:
        return Threshold(measure, limit)
    source = f"{target} {ours:,.0f}/s, loop {loop:,.0f}/s"
    return Threshold(measure, limit, f"{100 * result:.0f} %", result >= 0.8, source)


def _tail_latency(document: Document) -> Threshold:
    measure, limit = "tabular, c=16: p99 / p50", "<= 5"
    tails = []
    for target in _PLACEMENTS:
        tail = ratio(*(metric(document, "tabular", target, 16, name) for name in ("p99", "p50")))
        if tail is not None:
            tails.append((tail, target))
    if not tails:
        return Threshold(measure, limit)
    result, target = max(tails)
    return Threshold(measure, limit, f"{result:.1f}", result <= 5, f"the higher of both placements: {target}")


def _memory_growth(document: Document) -> Threshold:
    measure, limit = "memory after 1,000,000 requests vs. 10,000", "<= 1.05 x"
    measured = {key: part for key, part in document.get("growth", {}).items() if "points" in part}
    growth = [
        (part["growth"], key) for key, part in measured.items() if part["points"][-1]["requests"] >= _MIN_REQUESTS
    ]
    if not growth:
        return Threshold(measure, limit)
    result, key = max(growth)
    return Threshold(measure, limit, f"{result:.3f} x", result <= 1.05, f"the highest of {len(growth)}: {key}")


def _failures(document: Document) -> Threshold:
    measure, limit = "failed or wrong requests of the service, all scenarios", "0"
    loads = list(_loads(document))
    if not loads:
        return Threshold(measure, limit)
    failures = sum(load["failed"] + load.get("wrong", 0) for load in loads)
    total = sum(load["requests"] if "requests" in load else load.get("due", 0) for load in loads)
    missing = [f"{scenario}/{key}" for scenario, key, target in _own_targets(document) if "missing" in target]
    source = f"of {total:,}" + (f"; did not start: {', '.join(missing)}" if missing else "")
    return Threshold(measure, limit, f"{failures:,}", failures == 0 and not missing, source)


def _loads(document: Document) -> Iterator[Document]:
    """Yield all loads of the service that count failures: closed loop, open loop, sweeps, memory growth."""
    for _, _, target in _own_targets(document):
        yield from target.get("by_connections", {}).values()
    for scenario in document.get("open_loop", {}).values():
        for key, rates in scenario.items():
            if key.startswith("ours"):
                yield from _with_failures(rates)
    for sweep in document.get("sweeps", {}).values():
        yield from _with_failures(sweep)
        for part in sweep.values():
            yield from _with_failures(part)
    yield from _with_failures(document.get("growth", {}))


def _with_failures(parts: Any) -> list[Document]:
    values = parts.values() if isinstance(parts, dict) else ()
    return [value for value in values if isinstance(value, dict) and "failed" in value]


def _own_targets(document: Document) -> Iterator[tuple[str, str, Document]]:
    for scenario, measured in document.get("scenarios", {}).items():
        for key, target in measured.get("targets", {}).items():
            if key.startswith("ours"):
                yield scenario, key, target
