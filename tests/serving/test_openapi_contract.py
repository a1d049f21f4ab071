"""The service conforms to its OpenAPI document, for valid and invalid requests that schemathesis generates."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

import tests.serving.schemathesis_hooks  # noqa: F401  # registers the content of files
from tests.serving.in_process_service import LocalService

# Each call runs in a new event loop, which ends before its jobs, so their files are not closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

schema = schemathesis.openapi.from_asgi("/openapi.json", LocalService(job_max_per_caller=100_000).edged)


@schema.parametrize()
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_every_operation_keeps_its_contract(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate()


StateMachine = schema.as_state_machine().TestCase
StateMachine.settings = settings(max_examples=10, stateful_step_count=4, suppress_health_check=list(HealthCheck))
