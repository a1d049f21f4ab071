"""A model runs on the event loop only where measurements show that it is quick enough."""

from __future__ import annotations

from serving.runners.host.event_loop_policy import QUICK_S, TOO_SLOW_S, EventLoopPolicy


def test_before_the_warm_up_nothing_is_quick() -> None:
    assert not EventLoopPolicy().is_quick(1)


def test_a_model_that_was_slow_in_its_warm_up_never_is() -> None:
    policy = EventLoopPolicy()
    policy.record_warm_up(1, 2 * QUICK_S)
    assert not any(policy.is_quick(rows) for rows in (1, 1, 1, 100))


def test_more_rows_are_tried_step_by_step() -> None:
    policy = EventLoopPolicy()
    policy.record_warm_up(1, QUICK_S / 10)
    assert policy.is_quick(1)
    assert policy.is_quick(3)
    assert not policy.is_quick(100)
    policy.record(3, QUICK_S / 5)
    assert policy.is_quick(7)
    policy.record(7, QUICK_S * 0.9)
    # Twice as long is too slow.
    assert not policy.is_quick(15)


def test_slow_calls_pause_their_size_for_longer_each_time() -> None:
    policy = EventLoopPolicy()
    policy.record_warm_up(1, QUICK_S / 10)

    def pause() -> int:
        policy.record(1, 2 * QUICK_S)
        calls = 0
        while not policy.is_quick(1):
            calls += 1
        return calls

    first, second = pause(), pause()
    assert 0 < first < second
    policy.record(1, QUICK_S / 10)
    assert pause() == first


def test_a_very_slow_call_ends_runs_on_the_event_loop() -> None:
    policy = EventLoopPolicy()
    policy.record_warm_up(1, QUICK_S / 10)
    policy.record(1, 2 * TOO_SLOW_S)
    assert not any(policy.is_quick(1) for _ in range(10_000))
