"""What is waited for is measured by the monotonic clock: a wall clock that jumps ends no request and prolongs none."""

from __future__ import annotations

import ast
from pathlib import Path

SERVING = Path(__file__).parent.parent.parent / "serving"
WALL = {"time", "time_ns", "now", "utcnow", "today", "gmtime", "localtime"}
# Who may look at the wall clock: to write down when something happened, or to compare with what others wrote down.
TELLS = {
    "observability/access_log.py": "the time of a line",
    "kinds/recommender/feedback.py": "when an event came",
    "jobs/storage/files.py": "how old a folder is that belongs to no job",
    "jobs/metrics.py": "how long the oldest job has waited, over restarts too",
    "routes/jobs.py": "when it is worth looking again, from when a job was begun",
    "access/api_keys.py": "whether a token has expired",
    "routes/health.py": "the time in an answer about health",
}


def wall_clock_readers() -> set[str]:
    found = set()
    for path in SERVING.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            named = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if node.func.attr in WALL and named in ("time", "datetime", "date"):
                found.add(path.relative_to(SERVING).as_posix())
    return found


def test_only_what_tells_the_time_reads_the_wall_clock() -> None:
    assert wall_clock_readers() <= TELLS.keys()


def test_the_reading_of_the_source_finds_them() -> None:
    assert {"observability/access_log.py", "routes/health.py"} <= wall_clock_readers()
    for path in SERVING.rglob("*.py"):
        # So that no call hides behind a shorter name.
        assert "from time import time" not in path.read_text()
