"""What the store holds, as text: the versions of a model, and two of them side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from models.card import Card, Metrics
from models.errors import ArtifactError
from models.store.alias_file import ALIASES_FILE
from models.store.aliases import Aliases, AliasReport
from models.store.artifacts import Artifact, default_store, find, names, size_bytes, versions
from models.store.gate import fingerprint, main_metric
from models.store.usage import deployment_uses, is_loaded

HEADER: Final = ("version", "aliases", "size", "created (UTC)", "metric", "served")
MAX_SLICES: Final = 10
_ABSENT: Final = "-"


def known_names(store: Path | None = None) -> list[str]:
    """Return the names of the artifacts that have versions or aliases."""
    folder = store or default_store()
    return [
        name for name in names(store=store) if versions(name, store=store) or (folder / name / ALIASES_FILE).exists()
    ]


def versions_text(name: str, *, state_folder: Path, store: Path | None = None) -> str:
    """Return the versions of an artifact, newest first, with their aliases and uses; then the faults of aliases."""
    folder = store or default_store()
    present = versions(name, store=store)
    latest = find(name, store=store).version if present else ""
    aliases: list[AliasReport] = []
    uses: dict[str, list[str]] = {}
    faults = []
    try:
        aliases = Aliases(name, store=store).report()
        uses = deployment_uses(name, state_folder=state_folder, store=folder)
    except ArtifactError as error:
        faults = [str(error)]
    faults += [each.fault for each in aliases if each.fault]
    rows: list[Sequence[str]] = [HEADER]
    for artifact in present:
        named = [each.alias for each in aliases if each.version == artifact.version]
        loaded = ["loaded"] if is_loaded(artifact.folder) else []
        rows.append(
            (
                artifact.version,
                ", ".join([*named, *(["latest"] if artifact.version == latest else [])]),
                _megabytes(artifact),
                f"{artifact.card.created:%Y-%m-%d %H:%M}",
                _metric(artifact.card),
                ", ".join([*loaded, *uses.get(artifact.version, [])]),
            )
        )
    return "\n".join([name, *_aligned(rows), *(f"error: {fault}" for fault in faults)])


def comparison_text(first: Artifact, second: Artifact) -> str:
    """Return the reports of two versions side by side, with the differences of their metrics."""
    one, two = first.card, second.card
    rows: list[Sequence[str]] = [("", first.tag, second.tag, "difference")]
    rows += [(label, *pair, "") for label, pair in _facts(first, second)]
    rows += _metric_rows("", one.metrics, two.metrics)
    rows += _slice_rows(one, two)
    for name in _union(one.params, two.params):
        pair = [str(card.params[name]) if name in card.params else _ABSENT for card in (one, two)]
        if pair[0] != pair[1]:
            rows.append((f"param {name}", *pair, ""))
    return "\n".join(_aligned(rows))


def _facts(first: Artifact, second: Artifact) -> Iterator[tuple[str, tuple[str, str]]]:
    artifacts = (first, second)
    yield "created (UTC)", _both(f"{each.card.created:%Y-%m-%d %H:%M}" for each in artifacts)
    yield "algorithm", _both(each.card.algorithm for each in artifacts)
    yield "data", _both(fingerprint(each.card) for each in artifacts)
    yield "rows", _both(f"{each.card.data.rows:,}" for each in artifacts)
    yield "size", _both(_megabytes(each) for each in artifacts)
    yield "inputs", _both(str(len(each.card.inputs)) for each in artifacts)
    if any(each.card.parity for each in artifacts):
        yield (
            "runtime",
            _both(each.card.parity.runtime if each.card.parity else _ABSENT for each in artifacts),
        )


def _slice_rows(one: Card, two: Card) -> list[tuple[str, str, str, str]]:
    """Return the main metric of the slices in which it differs most."""
    metric = main_metric(one)
    pairs = {
        name: (one.slices[name][metric], two.slices[name][metric])
        for name in one.slices.keys() & two.slices.keys()
        if metric in one.slices[name] and metric in two.slices[name]
    }
    most = sorted(pairs.items(), key=lambda pair: (-abs(pair[1][1] - pair[1][0]), pair[0]))[:MAX_SLICES]
    return [row for name, (a, b) in most if a != b for row in _metric_rows(f"{name} ", {metric: a}, {metric: b})]


def _metric_rows(prefix: str, one: Metrics, two: Metrics) -> Iterator[tuple[str, str, str, str]]:
    for name in _union(one, two):
        sides = [f"{metrics[name]:.4g}" if name in metrics else _ABSENT for metrics in (one, two)]
        difference = f"{two[name] - one[name]:+.4g}" if name in one and name in two else ""
        yield f"{prefix}{name}", sides[0], sides[1], difference


def _both(values: Iterable[str]) -> tuple[str, str]:
    first, second = values
    return first, second


def _union(one: Mapping[str, object], two: Mapping[str, object]) -> list[str]:
    return list(dict.fromkeys((*one, *two)))


def _metric(card: Card) -> str:
    name = main_metric(card)
    return f"{name} {card.metrics[name]:.4f}" if name else _ABSENT


def _megabytes(artifact: Artifact) -> str:
    return f"{size_bytes(artifact) / 1e6:,.1f} MB"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
