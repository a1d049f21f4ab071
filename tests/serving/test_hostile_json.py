"""Tests that no hostile body holds the event loop, by processor time, in a service without a server.

The live tests send the whole corpus. These bodies took 0.1 to 100 s of processor time in one iteration of the loop
before their bounds.
"""

from __future__ import annotations

import pytest

from tests.hostile_json import CORPUS, PATHS
from tests.serving.in_process_service import LocalService
from tests.serving.loop_stalls import post, run_without_stall


@pytest.mark.parametrize(
    "name",
    [
        "tabular/unknown-fields",
        "tabular/unknown-fields-of-a-row",
        "tabular/unknown-fields-below-the-bounds",
        "tabular/value-long-decimals",
        "tabular/value-long-string",
        "tabular/lists",
        "tabular/repeated-field-of-rows",
        "recommend/features",
        "bulk/histories",
        "feedback/unknown-fields",
        "infer/numbers",
        "infer/outputs-below-the-bounds",
    ],
)
def test_no_body_holds_the_loop(local_service: LocalService, name: str) -> None:
    content_type, make = CORPUS[name]
    body = make()

    async def send() -> int:
        return (await post(local_service.edged, PATHS[name.partition("/")[0]], content_type, body))[0]

    assert run_without_stall(send) in (413, 422)
