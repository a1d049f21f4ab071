"""All bad inputs, for the tests and for docs/bad-inputs.md.

python -m tests.serving.invalid_requests.cases > docs/bad-inputs.md
"""

from __future__ import annotations

import sys

import httpx

from tests.serving.in_process_service import LocalService
from tests.serving.invalid_requests.case import Bad
from tests.serving.invalid_requests.other_calls import BAD_REQUESTS
from tests.serving.invalid_requests.predictions import BAD_PREDICTIONS

TABLE = [*BAD_PREDICTIONS, *BAD_REQUESTS]


def ask(bad: Bad) -> tuple[LocalService, httpx.Response]:
    """A service, and what it answers to a bad input."""
    local_service = LocalService(**({"max_body_bytes": 2_000_000} | bad.settings))
    answers = [local_service.ask(bad.method, bad.path, **bad.request) for _ in range(bad.times)]
    return local_service, answers[-1]


def markdown() -> str:
    """The page docs/bad-inputs.md, from the answers."""
    lines = [
        "# Bad inputs",
        "",
        "What was tried, and what it got: real answers of the application, to a tabular, an image and a recommender",
        "model of the tests. Made by `python -m tests.serving.invalid_requests.cases > docs/bad-inputs.md`; a test",
        "holds it to the code, and that nothing of these reaches a model.",
        "",
        "| sent | to | status | `type` | says |",
        "|---|---|---|---|---|",
    ]
    for bad in TABLE:
        _, response = ask(bad)
        problem = response.json()
        kind = problem["type"].removeprefix("/problems/")
        said = problem["detail"].replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {bad.what} | `{bad.method} {bad.path}` | {response.status_code} | {kind} | {said[:200]} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
