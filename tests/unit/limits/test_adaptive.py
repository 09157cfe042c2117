"""The number that adapts: it grows while all is well, and falls once for each episode."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmconf.limits.adaptive import COOLDOWN, LEAST, MOST, START, AdaptiveLimit


def answers(adaptive: AdaptiveLimit, number: int, now: float, *, all_used: bool = True) -> None:
    for _ in range(number):
        adaptive.record_answer(now, all_used=all_used)


def test_it_starts_at_20_and_doubles_after_each_full_round_up_to_100() -> None:
    adaptive = AdaptiveLimit()
    seen = [adaptive.limit]
    for _ in range(4):
        answers(adaptive, adaptive.limit - 1, 0.0)
        assert adaptive.limit == seen[-1]
        answers(adaptive, 1, 0.0)
        seen.append(adaptive.limit)
    assert seen == [20, 40, 80, 100, 100]


def test_it_does_not_grow_while_it_is_not_used() -> None:
    adaptive = AdaptiveLimit()
    answers(adaptive, 500, 0.0, all_used=False)
    assert adaptive.limit == START


def test_after_a_refusal_it_grows_by_one_for_each_round() -> None:
    adaptive = AdaptiveLimit()
    answers(adaptive, 60, 0.0)
    adaptive.record_refusal(1.0, sent_at=0.5, retry_after=None)
    assert adaptive.limit == 64
    answers(adaptive, 64, 1.0 + COOLDOWN)
    answers(adaptive, 65, 1.0 + COOLDOWN)
    assert adaptive.limit == 66


def test_many_refusals_of_one_episode_lower_it_once() -> None:
    adaptive = AdaptiveLimit()
    for number in range(20):
        adaptive.record_refusal(1.0 + number / 10, sent_at=0.5, retry_after=None)
    assert adaptive.limit == 16
    # The cooldown has passed, and no answer came since: it is the same episode.
    adaptive.record_refusal(50.0, sent_at=49.0, retry_after=None)
    assert adaptive.limit == 16
    adaptive.record_answer(51.0, all_used=True)
    adaptive.record_refusal(52.0, sent_at=51.5, retry_after=None)
    assert adaptive.limit == 12


def test_it_falls_to_10_and_no_further() -> None:
    adaptive, seen = AdaptiveLimit(), []
    for episode in range(6):
        adaptive.record_refusal(10.0 * episode, sent_at=10.0 * episode, retry_after=None)
        adaptive.record_answer(10.0 * episode + COOLDOWN, all_used=False)
        seen.append(adaptive.limit)
    assert seen == [16, 12, 10, 10, 10, 10]


def test_an_answer_within_the_cooldown_ends_no_episode() -> None:
    adaptive = AdaptiveLimit()
    adaptive.record_refusal(1.0, sent_at=0.0, retry_after=None)
    adaptive.record_answer(1.0 + COOLDOWN / 2, all_used=True)
    adaptive.record_refusal(1.1 + COOLDOWN, sent_at=1.0 + COOLDOWN, retry_after=None)
    assert adaptive.limit == 16


def test_retry_after_makes_the_cooldown_longer() -> None:
    adaptive = AdaptiveLimit()
    adaptive.record_refusal(0.0, sent_at=-1.0, retry_after=30.0)
    adaptive.record_refusal(1.0, sent_at=-0.5, retry_after=40.0)
    answers(adaptive, 200, 40.9)
    assert adaptive.limit == 16
    answers(adaptive, 16, 41.0)
    assert adaptive.limit == 17


def test_requests_sent_after_the_fall_do_not_keep_the_cooldown_going() -> None:
    adaptive = AdaptiveLimit()
    adaptive.record_refusal(0.0, sent_at=-1.0, retry_after=1.0)
    for second in range(1, 60):
        adaptive.record_refusal(float(second), sent_at=second - 0.5, retry_after=10.0)
    adaptive.record_answer(60.0, all_used=True)
    adaptive.record_refusal(61.0, sent_at=60.5, retry_after=None)
    assert adaptive.limit == 12


def test_a_failure_of_the_server_lowers_nothing_and_pauses_growth() -> None:
    adaptive = AdaptiveLimit()
    answers(adaptive, 19, 0.0)
    adaptive.record_failure(1.0)
    answers(adaptive, 100, 0.9 + COOLDOWN)
    assert adaptive.limit == START
    answers(adaptive, 19, 1.0 + COOLDOWN)
    assert adaptive.limit == START
    answers(adaptive, 1, 1.0 + COOLDOWN)
    assert adaptive.limit == 2 * START


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["answered", "answered", "refused", "failed"]),
        st.floats(0, 3, allow_nan=False),
        st.one_of(st.none(), st.floats(0, 20, allow_nan=False)),
        st.integers(1, 120),
    ),
    max_size=60,
)


@given(EVENTS)
def test_it_stays_in_its_bounds_and_falls_at_most_once_in_an_episode(
    events: list[tuple[str, float, float | None, int]],
) -> None:
    adaptive, now = AdaptiveLimit(), 0.0
    falls = 0  # since the last answer after the cooldown of the last fall
    calm_at = failed_at = float("-inf")
    for kind, pause, retry_after, number in events:
        now += pause
        before = adaptive.limit
        if kind == "answered":
            for _ in range(number):
                adaptive.record_answer(now, all_used=True)
            assert adaptive.limit >= before
            if now < failed_at + COOLDOWN or now < calm_at:
                assert adaptive.limit == before
            else:
                falls = 0
        elif kind == "refused":
            adaptive.record_refusal(now, sent_at=now, retry_after=retry_after)
            assert adaptive.limit in (before, max(LEAST, int(before * 0.8)))
            if falls:
                assert adaptive.limit == before
            else:
                calm_at = now + max(COOLDOWN, retry_after or 0.0)
            falls += 1
        else:
            adaptive.record_failure(now)
            failed_at = now
            assert adaptive.limit == before
        assert LEAST <= adaptive.limit <= MOST
