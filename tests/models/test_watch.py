"""What is read again while a process runs: its faults are logged and reported once, and listed until they end."""

from __future__ import annotations

import gc
import json
import logging

import pytest

from models import watch
from models.errors import SettingsInvalid
from models.watch import Watch, reason_of


def keys() -> Watch:
    return Watch("keys", "read the keys", keeps="the previous ones remain", log=logging.getLogger("makunouchi.test"))


def read(error: Exception | None, watched: Watch) -> None:
    with watched.attempt():
        if error is not None:
            raise error


def test_each_fault_is_logged_and_reported_once_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    reports: list[tuple[str, bool]] = []
    watch.listen(lambda name, is_failing: reports.append((name, is_failing)))
    watched = keys()
    for error in (
        None,
        OSError(2, "No such file", "/secret/place"),
        OSError(2, "No such file"),
        OSError(5, "I/O"),
        None,
        None,
    ):
        read(error, watched)

    assert [record.getMessage() for record in caplog.records] == [
        "cannot read the keys, the previous ones remain: No such file",
        "cannot read the keys, the previous ones remain: I/O",
        "can read the keys again",
    ]
    assert reports == [("keys", True), ("keys", True), ("keys", False)]


def test_a_failing_watch_is_listed_until_it_succeeds_or_ends() -> None:
    watched, other = keys(), keys()
    read(ValueError("content"), watched)
    (detail,) = watch.failing().values()
    assert detail.startswith("cannot read the keys since 20")
    assert detail.endswith("; the previous ones remain")

    late: list[tuple[str, bool]] = []
    watch.listen(lambda name, is_failing: late.append((name, is_failing)))
    assert late == [("keys", True)]
    read(None, watched)
    assert watch.failing() == {}
    read(ValueError("content"), other)
    del other
    gc.collect()
    assert watch.failing() == {}


def test_watches_of_one_name_fail_until_the_last_one_succeeds() -> None:
    reports: list[bool] = []
    watch.listen(lambda name, is_failing: reports.append(is_failing))
    first, second = keys(), keys()
    for watched in (first, second):
        read(OSError(2, "gone"), watched)
    read(None, first)
    assert (reports, set(watch.failing())) == ([True, True], {"keys"})
    read(None, second)
    assert (reports, watch.failing()) == ([True, True, False], {})


def test_watches_of_one_name_are_listed_together() -> None:
    sources = [Watch("sources", f"read {name}", keeps="x", log=logging.getLogger("makunouchi.test")) for name in "ba"]
    for each in sources:
        read(OSError(2, "gone"), each)
    first, second = watch.failing()["sources"].split(" | ")
    assert first.startswith("cannot read a since")
    assert second.startswith("cannot read b since")


def test_a_watch_that_is_closed_fails_no_longer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    reports: list[bool] = []
    watch.listen(lambda name, is_failing: reports.append(is_failing))
    watched = keys()
    read(OSError(2, "gone"), watched)
    watched.close()
    read(OSError(5, "I/O"), watched)
    assert (reports, watch.failing()) == ([True, False], {})
    assert "again" not in caplog.text


def test_a_fault_of_the_code_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    read(KeyError("x"), keys())
    read(SettingsInvalid("API key 1: unknown role"), keys())
    assert [record.exc_info is not None for record in caplog.records] == [True, False]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(13, "Permission denied", "/srv/keys"), "Permission denied"),
        (UnicodeDecodeError("utf-8", b"secret\xff", 6, 7, "invalid start byte"), "byte 6 is not valid utf-8"),
        (json.JSONDecodeError("Expecting value", '{"a": secret}', 6), "line 1, column 7 is not valid JSON"),
        (ValueError("secret"), "ValueError"),
        (SettingsInvalid("API key 2: unknown role"), "API key 2: unknown role"),
    ],
)
def test_a_reason_has_no_content_and_no_path(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
