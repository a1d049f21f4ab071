from __future__ import annotations

from models.adaptive_choice import AdaptiveChoice


def go(quicker: AdaptiveChoice, seconds: tuple[float, float], times: int) -> list[int]:
    """The ways chosen while each takes so long."""
    ways = []
    for _ in range(times):
        ways.append(quicker.choose())
        quicker.took(ways[-1], seconds[ways[-1]])
    return ways


def test_both_ways_are_tried_and_then_mostly_the_quicker_one() -> None:
    quicker = AdaptiveChoice()
    assert go(quicker, (2.0, 1.0), 6) == [0, 0, 0, 1, 1, 1]
    assert sum(go(quicker, (2.0, 1.0), 160)) == 150


def test_when_the_other_becomes_the_quicker_one_it_is_found_out() -> None:
    quicker = AdaptiveChoice()
    go(quicker, (2.0, 1.0), 40)
    changed = go(quicker, (2.0, 9.0), 40)
    assert changed.count(1) < 12
    assert go(quicker, (2.0, 1.0), 300)[-16:].count(1) == 15


def test_one_slow_answer_changes_nothing() -> None:
    quicker = AdaptiveChoice()
    go(quicker, (2.0, 1.0), 40)
    quicker.took(1, 100.0)
    assert go(quicker, (2.0, 1.0), 10).count(1) >= 9
