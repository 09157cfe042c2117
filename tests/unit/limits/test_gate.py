"""A gate lets pass in line what the strictest limits of its shares allow, over simulated time."""

from __future__ import annotations

import gc
import os
import random
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmconf.limits import Gate, Limits, Permit, Share
from lmconf.limits.window import MINUTE
from tests.unit.limits.simulated import Bell, Clock


def passes(permit: Permit) -> bool:
    return permit.ask(Bell()) is None


def test_no_more_than_the_number_are_in_flight_and_the_next_is_rung_in_line() -> None:
    gate = Gate(Clock())
    share = gate.share(Limits(max_concurrency=2))
    permits = [share.permit(0) for _ in range(5)]
    bells = [Bell() for _ in permits]
    assert [permit.ask(bell) for permit, bell in zip(permits, bells, strict=True)] == [
        None,
        None,
        inf,
        inf,
        inf,
    ]
    permits[1].end("answered")
    permits[1].end("answered")
    assert [bell.rung for bell in bells[2:]] == [1, 0, 0]
    permits[3].end()
    permits[0].end("failed")
    assert [bell.rung for bell in bells[2:]] == [1, 0, 1]
    assert gate.in_flight == 2
    permits[2].end()
    permits[4].end()
    assert gate.in_flight == 0


def test_whoever_comes_late_does_not_pass_those_who_wait() -> None:
    gate = Gate(Clock())
    share = gate.share(Limits(max_concurrency=1))
    first, second = share.permit(0), share.permit(0)
    first.end()
    assert not passes(share.permit(0))
    assert passes(second)


def test_the_strictest_of_what_the_shares_say_holds_while_they_live() -> None:
    gate = Gate(Clock())
    wide = gate.share(Limits(max_concurrency=50, rpm=2, tpm=1000))
    loose = gate.share(Limits(rpm=100, tpm=10))
    assert gate.most == 50
    assert passes(wide.permit(5))
    too_many_tokens = loose.permit(10)
    assert not passes(too_many_tokens)
    assert too_many_tokens.held_by == "tpm"
    too_many_tokens.end()
    assert passes(loose.permit(5))
    too_many = loose.permit(0)
    assert not passes(too_many)
    assert too_many.held_by == "rpm"
    del loose
    gc.collect()
    narrow = gate.share(Limits(max_concurrency=3))
    adaptive = gate.share(Limits(max_concurrency="adaptive"))
    assert gate.most == 3
    del narrow
    gc.collect()
    assert gate.most == 20
    del adaptive
    gc.collect()
    assert gate.most == 50
    assert wide.gate is gate


def test_a_refusal_lowers_an_adaptive_gate_and_answers_raise_it() -> None:
    clock = Clock()
    gate = Gate(clock)
    share = gate.share(Limits(max_concurrency="adaptive"))
    permits = [share.permit(0) for _ in range(30)]
    assert gate.in_flight == 20
    permits[0].end("refused", retry_after=5.0)
    permits[1].end("refused", retry_after=5.0)
    assert gate.most == 16
    assert gate.in_flight == 18
    for permit in permits[2:]:
        permit.end("answered")
    assert gate.most == 16
    clock.now += 4.9  # what `Retry-After` says is not over
    answer(share, 16)
    assert gate.most == 16
    clock.now += 0.1
    answer(share, 16)
    assert gate.most == 17


def answer(share: Share, number: int) -> None:
    """Have `number` requests in flight, and then answered."""
    for permit in [share.permit(0) for _ in range(number)]:
        permit.end("answered")


def test_an_adaptive_gate_grows_while_it_is_full_and_no_failure_is_fresh() -> None:
    clock = Clock()
    gate = Gate(clock)
    share = gate.share(Limits(max_concurrency="adaptive"))
    for _ in range(10):
        answer(share, 19)
        clock.now += 1
    assert gate.most == 20
    failing = share.permit(0)
    failing.end("failed")
    clock.now += 1.9
    answer(share, 20)
    assert gate.most == 20
    clock.now += 0.1
    answer(share, 20)
    assert gate.most == 40


def test_the_head_of_the_line_is_told_when_to_ask_again_and_then_the_next() -> None:
    clock = Clock()
    gate = Gate(clock)
    share = gate.share(Limits(rpm=1))
    first, second, third = (share.permit(0) for _ in range(3))
    assert passes(first)
    clock.now += 10
    bell = Bell()
    assert third.ask(bell) == inf
    assert second.ask(Bell()) == pytest.approx(50.0)
    assert second.held_by == "rpm"
    clock.now += 50
    assert second.ask(Bell()) is None
    # The third is at the head now, and must know of its time.
    assert bell.rung == 1
    assert third.ask(Bell()) == pytest.approx(60.0)


def test_tokens_are_corrected_by_what_was_used_and_the_head_hears_of_it() -> None:
    clock = Clock()
    gate = Gate(clock)
    share = gate.share(Limits(tpm=1000))
    first, second = share.permit(900), share.permit(900)
    bell = Bell()
    assert second.ask(bell) == pytest.approx(60.0)
    assert second.held_by == "tpm"
    second.ask(bell)
    first.end("answered", tokens=100)
    assert bell.rung == 1
    assert passes(second)
    third = share.permit(1)
    second.end("answered", tokens=5000)
    assert not passes(third)
    clock.now += 60
    assert passes(third)


def test_a_request_larger_than_the_whole_minute_passes_alone() -> None:
    clock = Clock()
    gate = Gate(clock)
    share = gate.share(Limits(tpm=100))
    assert passes(share.permit(50))
    large, small = share.permit(500), share.permit(1)
    assert not passes(large)
    clock.now += 60
    assert passes(large)
    assert not passes(small)
    # What came to nothing in truth is nothing to wait for.
    small.end()
    large.end("other", tokens=0)
    assert passes(share.permit(500))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(100, 3000),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_no_sixty_seconds_have_more_than_the_limits_and_none_waits_in_vain(
    rpm: int, tpm: int, most: int, rng: random.Random
) -> None:
    clock = Clock()
    gate = Gate(clock)
    share = gate.share(Limits(rpm=rpm, tpm=tpm, max_concurrency=most))
    waiting: list[Permit] = []
    flying: list[tuple[float, Permit]] = []
    passed: list[float] = []
    for _ in range(120):
        waiting += [share.permit(rng.randint(1, 600)) for _ in range(rng.randint(0, 2))]
        for end, permit in [pair for pair in flying if pair[0] <= clock.now]:
            flying.remove((end, permit))
            permit.end("answered", tokens=rng.choice((permit.tokens, permit.tokens // 2)))
        while waiting and waiting[0].ask(Bell()) is None:
            permit = waiting.pop(0)
            passed.append(clock.now)
            flying.append((clock.now + rng.uniform(0, 90), permit))
        assert len(flying) <= most
        recent = sum(1 for at in passed if at > clock.now - MINUTE)
        assert recent <= rpm
        # What keeps the head waiting is a limit that is really met.
        if waiting:
            held_by = waiting[0].held_by
            assert held_by == "tpm" or (recent == rpm if held_by == "rpm" else len(flying) == most)
        clock.now += rng.uniform(0, 20)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 700), st.floats(0, 30)), max_size=60))
def test_no_sixty_seconds_have_more_tokens_than_tpm(
    asked: list[tuple[int, float]],
) -> None:
    clock, tpm = Clock(), 1000
    gate = Gate(clock)
    share = gate.share(Limits(tpm=tpm))
    passed: list[tuple[float, int]] = []
    for tokens, pause in asked:
        permit = share.permit(tokens)
        seconds = permit.ask(Bell())
        if seconds is not None:
            clock.now += seconds + 1e-6
            assert passes(permit)
        passed.append((clock.now, tokens))
        permit.end("answered", tokens=tokens)
        assert sum(t for at, t in passed if at > clock.now - MINUTE) <= tpm
        clock.now += pause


def test_a_permit_may_be_given_back_by_whatever_a_ringing_bell_runs() -> None:
    """Finalizers run anywhere, also in the middle of the gate's own work."""
    gate = Gate(Clock())
    share = gate.share(Limits(max_concurrency=1))
    first, second, third = (share.permit(0) for _ in range(3))

    class Reentrant(Bell):
        def give(self) -> None:
            super().give()
            second.end()

    last = Bell()
    second.ask(Reentrant())
    third.ask(last)
    first.end()
    assert last.rung == 1
    assert gate.in_flight == 1
    third.end()
    assert gate.in_flight == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_begins_with_nobody_in_flight() -> None:
    gate = Gate()
    share = gate.share(Limits(max_concurrency=1))
    held = share.permit(0)
    assert passes(held)
    pid = os.fork()
    if pid == 0:
        # What the parent's threads give back is nothing to the child.
        ok = gate.in_flight == 0 and passes(share.permit(0))
        held.end()
        os._exit(0 if ok and gate.in_flight == 1 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert gate.in_flight == 1
