from __future__ import annotations

from models.adaptive_choice import AdaptiveChoice


def run(choice: AdaptiveChoice, seconds: tuple[float, float], times: int) -> list[int]:
    """Return the chosen options when each has a constant run time."""
    options = []
    for _ in range(times):
        options.append(choice.choose())
        choice.record(options[-1], seconds[options[-1]])
    return options


def test_both_options_are_sampled_and_then_mostly_the_faster_one() -> None:
    choice = AdaptiveChoice()
    assert run(choice, (2.0, 1.0), 6) == [0, 0, 0, 1, 1, 1]
    assert sum(run(choice, (2.0, 1.0), 160)) == 150


def test_a_change_of_the_faster_option_is_detected() -> None:
    choice = AdaptiveChoice()
    run(choice, (2.0, 1.0), 40)
    changed = run(choice, (2.0, 9.0), 40)
    assert changed.count(1) < 12
    assert run(choice, (2.0, 1.0), 300)[-16:].count(1) == 15


def test_one_slow_run_changes_nothing() -> None:
    choice = AdaptiveChoice()
    run(choice, (2.0, 1.0), 40)
    choice.record(1, 100.0)
    assert run(choice, (2.0, 1.0), 10).count(1) >= 9
