"""The document of a short run: every section has some data, and some parts are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MACHINE = {
    "name": "m", "cpu": "a CPU", "cores": 2, "memory_gb": 8.0, "system": "Linux", "python": "3.11.7",
    "date": "2026-01-01T00:00:00+00:00", "revision": "abc", "load_before": 0.1, "versions": {"bentoml": "1.4.39"},
}  # fmt: skip


def load(per_s: float) -> dict[str, Any]:
    return {"per_s": per_s, "p50": 1.0, "p99": 2.0, "requests": 9, "failed": 0, "wrong": 0, "rounds": [{"requests": 9}]}


def document() -> dict[str, Any]:
    target = {"peer": "ours", "note": "", "start_s": 1.0, "memory_bytes": {"python 1": 50_000_000}}
    return {
        "machine": dict(MACHINE),
        "options": {"rounds": 3, "seconds": 2.0},
        "peers": {"ray": {"missing": "no wheel | for this Python"}, "mosec": {"versions": {"mosec": "0.9.8"}}},
        "scenarios": {
            "overhead": {
                "title": "30 floats",
                "targets": {
                    "ours-process": {**target, "by_connections": {"1": load(10), "64": load(1234)}},
                    "ray": {"peer": "ray", "note": "", "missing": f"exited\nin {Path.home()}/x"},
                },
            },
            "image": {"title": "Images", "missing": "no artifact 'image'"},
        },
        "open_loop": {
            "overhead": {"ours-process": {"100": {**load(1), "p90": 1, "p99.9": 3, "due": 5, "sent_late_p99": 0.2}}}
        },
        "sweeps": {
            "rows": {"1": {**load(10), "rows_per_s": 10}, "1000": {**load(5), "rows_per_s": 5000}},
            "catalogue": {"missing": "out of memory"},
            "gateways": {"2": {"ours-inline-2-gateways": load(20)}},
        },
        "starts": {"ours-process": {"cold_s": 3.0, "warm_s": 1.0}},
        "container": {"image_mb": 798.0, "ready_s": 4.2},
        "growth": {
            "overhead/ours-process": {
                "points": [{"requests": 10_000, "bytes": 1e8}, {"requests": 10**6, "bytes": 1.01e8}],
                "growth": 1.01,
                "failed": 0,
            }
        },
    }
