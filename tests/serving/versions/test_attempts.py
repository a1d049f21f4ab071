"""A difference is confirmed before it is acted on, and failures are retried after growing times."""

from __future__ import annotations

from serving.versions.attempts import FIRST_PAUSE_S, LONGEST_PAUSE_S, Attempts


def test_a_difference_is_acted_on_when_it_is_seen_twice() -> None:
    attempts = Attempts()
    seen = [(attempts.is_due("v2"), attempts.is_unconfirmed) for _ in range(3)]
    assert seen == [(False, True), (True, False), (True, False)]
    assert not attempts.is_due("v3")
    attempts.settle()
    assert not attempts.is_due("v3")


def test_failures_pause_for_longer_each_time_and_another_target_does_not_wait() -> None:
    time = [0.0]
    attempts = Attempts(clock=lambda: time[0])
    attempts.is_due("bad")
    times: list[float] = []
    for _ in range(8):
        while not attempts.is_due("bad"):
            time[0] += 1.0
        assert attempts.fail(ValueError("it is cut")) == (not times)
        times.append(time[0])
    assert times[:3] == [0.0, FIRST_PAUSE_S, 3 * FIRST_PAUSE_S]
    assert times[-1] - times[-2] == LONGEST_PAUSE_S
    assert attempts.error == "it is cut"
    attempts.is_due("good")
    assert attempts.is_due("good")
    assert not attempts.error
