"""Gates are shared by equal origins and credentials, and nothing is to be learnt from them."""

from __future__ import annotations

from lmconf.limits import Gate, Limits, gate_key, gate_of
from lmconf.limits.gate import MOST


def test_equal_texts_have_one_gate_and_others_another() -> None:
    assert gate_of(gate_key(("https://a", "key"))) is gate_of(gate_key(["https://a", "key"]))
    assert gate_of(gate_key(("https://a", "key"))) is not gate_of(gate_key(("https://a", "kez")))
    # Where one text ends and the next begins counts.
    assert gate_key(("ab", "c")) != gate_key(("a", "bc"))


def test_a_mark_holds_nothing_of_the_texts() -> None:
    gate = gate_of(gate_key(("https://a", "sk-secret-123")))
    assert b"secret" not in gate_key(("https://a", "sk-secret-123"))
    assert "secret" not in repr(gate)
    assert len(gate_key(("x" * 10_000,))) == 16


def test_gates_that_nobody_uses_are_forgotten_in_the_end_and_others_are_not() -> None:
    mark = gate_key(("https://kept",))
    share = gate_of(mark).share(Limits(rpm=1))
    assert isinstance(share.gate, Gate)
    for number in range(2 * MOST):
        gate_of(gate_key((f"https://{number}",)))
    assert gate_of(mark) is share.gate
