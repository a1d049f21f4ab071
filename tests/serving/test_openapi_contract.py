"""The service conforms to its OpenAPI document, for valid and invalid requests that schemathesis generates."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import BaseSchema

import tests.serving.schemathesis_hooks  # noqa: F401  # registers the content of files
from serving.access.api_keys import hash_of
from tests.serving.in_process_service import LocalService

pytestmark = [
    pytest.mark.slow,
    # Each call runs in a new event loop, which ends before its jobs, so their files are not closed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ALL_CHECKS = list(HealthCheck)
KEY = "mk_all"


@pytest.fixture(scope="module")
def document() -> BaseSchema:
    return document_of(LocalService(job_max_per_caller=100_000))


@pytest.fixture(scope="module")
def document_with_keys() -> BaseSchema:
    return document_of(LocalService(api_keys=f"all:admin:{hash_of(KEY)}"))


def document_of(local_service: LocalService) -> BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", local_service.edged)


# Fixtures: a document in the module would cost seconds in the collection of every run. Each operation is a subtest.
@schemathesis.pytest.from_fixture("document").parametrize()
@settings(max_examples=40, suppress_health_check=ALL_CHECKS)
def test_every_operation_keeps_its_contract(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate()


# Without the explicit examples of the test above, which do not depend on keys.
@schemathesis.pytest.from_fixture("document_with_keys").parametrize()
@settings(max_examples=10, phases=[Phase.generate, Phase.shrink], suppress_health_check=ALL_CHECKS)
def test_every_operation_keeps_its_contract_behind_keys(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(headers={"X-API-Key": KEY})


def test_sequences_of_calls_keep_the_contract(document: BaseSchema) -> None:
    state_machine = document.as_state_machine()
    state_machine.run(settings=settings(max_examples=10, stateful_step_count=4, suppress_health_check=ALL_CHECKS))
