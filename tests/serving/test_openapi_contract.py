"""The OpenAPI document tells the truth: schemathesis tries what it says, and what it does not, and finds nothing."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

import tests.serving.schemathesis_hooks  # noqa: F401  # registers the content of files
from tests.serving.in_process_service import LocalService

# Each call has an event loop of its own, which ends under the jobs that were begun in it: their files are not closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

schema = schemathesis.openapi.from_asgi("/openapi.json", LocalService(job_max_per_caller=100_000).edged)


@schema.parametrize()
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_every_operation_keeps_its_contract(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate()


StateMachine = schema.as_state_machine().TestCase
StateMachine.settings = settings(max_examples=10, stateful_step_count=4, suppress_health_check=list(HealthCheck))
