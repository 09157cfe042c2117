"""How long an LM's calls and waits may take: what is stated, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmconf.retries import RetryPolicy
from lmconf.schema.check import Fault
from lmconf.schema.fault import UnreadableValue
from lmconf.schema.quantities import parse_duration
from lmconf.spec.lm import LMSpec
from lmconf.spec.policies import TimeoutSpec, timeout_shorthand

__all__ = ["check_times", "complete_times"]

Data = Mapping[str, Any]

_LONGEST: float = LMSpec(model="").deadline


def complete_times(data: dict[str, Any]) -> None:
    """Let the default of `timeout` fit a `deadline` that is stated, and the other way round."""
    timeout, usual = _timeout(data), TimeoutSpec().total
    deadline, total = _seconds(data.get("deadline")), _seconds(timeout.get("total"))
    if deadline is not None and deadline < usual and "total" not in timeout:
        if not isinstance(data.get("timeout"), UnreadableValue):
            data["timeout"] = {**timeout, "total": deadline}
    elif total is not None and deadline is None and total > _LONGEST:
        data.setdefault("deadline", total)


def check_times(data: Data) -> Iterator[Fault]:
    """Yield what in the times of an LM leaves no call the time to be answered, or no effect."""
    deadline, timeout = _seconds(data.get("deadline")), _timeout(data)
    if deadline == 0:
        yield _nothing(("deadline",))
        return
    phases = {phase: _seconds(timeout.get(phase)) for phase in TimeoutSpec.__struct_fields__}
    for phase, seconds in phases.items():
        if seconds == 0:
            yield _nothing(("timeout", phase))
    total = phases["total"]
    if deadline is not None and total is not None and deadline < total:
        yield Fault(
            "contradiction",
            ("deadline",),
            f"the whole call may take {deadline:g}s, and one attempt of it {total:g}s",
            help="raise `deadline` above `timeout`, or leave `timeout` out: it is no longer than"
            " `deadline` then",
        )
    yield from _check_first_wait(data)


def _nothing(path: tuple[str, ...]) -> Fault:
    return Fault(
        "out-of-range",
        path,
        f"`{path[-1]}` leaves no time at all: every call would fail",
        help="state a time, or leave it out to keep its default",
    )


def _check_first_wait(data: Data) -> Iterator[Fault]:
    """Yield a fault where the first wait is stated longer than any wait may be."""
    retry, usual = data.get("retry"), RetryPolicy()
    if not isinstance(retry, Mapping):
        return
    initial, longest = _seconds(retry.get("initial")), _seconds(retry.get("max", usual.max))
    # The default gives way to a `max` that is shorter, which is meant so.
    if initial is None or longest is None or initial <= longest or initial == usual.initial:
        return
    yield Fault(
        "contradiction",
        ("retry", "initial"),
        f"the first wait may take {initial:g}s, and no wait more than {longest:g}s",
        help="raise `max`, which bounds every wait",
    )


def _timeout(data: Data) -> Mapping[str, object]:
    stated = data.get("timeout", {})
    return stated if isinstance(stated, Mapping) else timeout_shorthand(stated) or {}


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return parse_duration(value)
    except ValueError:
        return None  # it is told where it stands; a pool asks its members before
