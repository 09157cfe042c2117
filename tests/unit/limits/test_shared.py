"""Gates are shared by equal origins and credentials, and nothing is to be learnt from them."""

from __future__ import annotations

from lmconf.limits import Gate, Limits, gate_of, mark_of
from lmconf.limits.gate import MOST


def test_equal_texts_have_one_gate_and_others_another() -> None:
    assert gate_of(mark_of(("https://a", "key"))) is gate_of(mark_of(["https://a", "key"]))
    assert gate_of(mark_of(("https://a", "key"))) is not gate_of(mark_of(("https://a", "kez")))
    # Where one text ends and the next begins counts.
    assert mark_of(("ab", "c")) != mark_of(("a", "bc"))


def test_a_mark_holds_nothing_of_the_texts() -> None:
    gate = gate_of(mark_of(("https://a", "sk-secret-123")))
    assert b"secret" not in mark_of(("https://a", "sk-secret-123"))
    assert "secret" not in repr(gate)
    assert len(mark_of(("x" * 10_000,))) == 16


def test_gates_that_nobody_uses_are_forgotten_in_the_end_and_others_are_not() -> None:
    mark = mark_of(("https://kept",))
    share = gate_of(mark).share(Limits(rpm=1))
    assert isinstance(share.gate, Gate)
    for number in range(2 * MOST):
        gate_of(mark_of((f"https://{number}",)))
    assert gate_of(mark) is share.gate
