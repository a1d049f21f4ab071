"""Durations use the monotonic clock, so that a change of the wall clock does not affect requests."""

from __future__ import annotations

import ast
from pathlib import Path

SERVING = Path(__file__).parent.parent.parent / "serving"
WALL = {"time", "time_ns", "now", "utcnow", "today", "gmtime", "localtime"}
# Modules that may read the wall clock: to record a time, or to compare it with a recorded one.
ALLOWED = {
    "observability/access_log.py": "the time of a log line",
    "kinds/recommender/feedback.py": "the time of an event",
    "jobs/storage/files.py": "the age of a folder without a job",
    "jobs/metrics.py": "the waiting time of the oldest job, across restarts",
    "routes/job_responses.py": "Retry-After, from the start of a job",
    "access/api_keys.py": "the expiry of a key",
    "routes/health.py": "the time in a health response",
}


def wall_clock_readers() -> set[str]:
    modules = set()
    for path in SERVING.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            named = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if node.func.attr in WALL and named in ("time", "datetime", "date"):
                modules.add(path.relative_to(SERVING).as_posix())
    return modules


def test_only_listed_modules_read_the_wall_clock() -> None:
    assert wall_clock_readers() <= ALLOWED.keys()


def test_the_search_finds_imports_under_other_names() -> None:
    assert {"observability/access_log.py", "routes/health.py"} <= wall_clock_readers()
    for path in SERVING.rglob("*.py"):
        # An alias must not hide a call.
        assert "from time import time" not in path.read_text()
