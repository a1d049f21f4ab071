"""The table from errors to problem types, which hides internal details."""

from __future__ import annotations

import inspect
import logging

import pytest

from models import errors as domain
from serving.context import set_request_id
from serving.errors.exceptions import Malformed
from serving.errors.mapping import TABLE, detail_of, problem_type_of, report
from serving.errors.problem_types import INTERNAL, PROBLEM_TYPES

STATUSES = {
    domain.InvalidInput: 422,
    domain.UnsupportedMedia: 415,
    domain.InputTooLarge: 413,
    domain.NotKnown: 404,
    Malformed: 400,
    domain.RunnerUnavailable: 503,
    domain.Overloaded: 503,
    domain.DeadlineExceeded: 504,
    domain.PredictionFailed: 500,
    domain.ArtifactMissing: 500,
    domain.SettingsInvalid: 500,
    ZeroDivisionError: 500,
    TimeoutError: 504,
}


@pytest.mark.parametrize(("error", "status"), STATUSES.items(), ids=lambda value: getattr(value, "__name__", value))
def test_status_of(error: type[Exception], status: int) -> None:
    assert problem_type_of(error("what happened")).status == status


def test_input_errors_are_client_errors_and_runner_errors_are_internal() -> None:
    for _, error in inspect.getmembers(domain, inspect.isclass):
        if issubclass(error, domain.InputError):
            assert problem_type_of(error("")).status < 500
        if issubclass(error, domain.RunnerError) and error is not domain.RunnerError:
            assert problem_type_of(error("")).status >= 500
            assert problem_type_of(error("")).is_internal


def test_the_message_of_an_input_error_is_shown() -> None:
    assert detail_of(domain.InvalidInput("the image is truncated")) == "the image is truncated"


@pytest.mark.parametrize("error", [domain.RunnerUnavailable, domain.PredictionFailed, OSError, domain.ArtifactInvalid])
def test_the_message_of_an_internal_error_is_hidden(error: type[Exception]) -> None:
    assert "/run/secret.sock" not in detail_of(error("/run/secret.sock"))


def test_the_message_of_an_internal_error_is_logged_with_the_request_id(caplog: pytest.LogCaptureFixture) -> None:
    set_request_id("r-1")
    with caplog.at_level(logging.WARNING, logger="makunouchi.errors"):
        report(domain.RunnerUnavailable("/run/secret.sock"))
        report(domain.InvalidInput("not logged"))

    assert [record.getMessage() for record in caplog.records] == ["unavailable [request_id=r-1] /run/secret.sock"]


def test_problem_types_have_unique_names_and_are_all_listed() -> None:
    assert len({kind.type for kind in PROBLEM_TYPES}) == len(PROBLEM_TYPES)
    assert {*TABLE.values(), INTERNAL} <= set(PROBLEM_TYPES)


def test_retryable_problems_have_retry_after() -> None:
    assert all(kind.retry_after_s for kind in PROBLEM_TYPES if kind.status == 503)
