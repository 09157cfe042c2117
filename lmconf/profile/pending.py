"""What a spec may say that this version checks and keeps, and cannot carry out yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lmconf.limits import LEDGERS
from lmconf.profile.lm import LMSpec, SoleLMSpec
from lmconf.profile.policies import Budget
from lmconf.spec.declaring import fields

__all__ = ["Path", "pending", "pending_of_budget"]

Path = tuple[str | int, ...]


def pending_of_budget(budget: Budget) -> Iterator[tuple[Path, str]]:
    """Yield path and name of what in a budget, of an LM or a profile, cannot be carried out yet."""
    store = budget.store
    if store is not None and not isinstance(store, str) and store.backend not in LEDGERS:
        yield ("budget", "store"), f"a budget in a store with `backend: {store.backend}`"


def pending(spec: SoleLMSpec) -> Iterator[tuple[Path, str]]:
    """Yield path and name of each thing in `spec` that cannot be carried out yet."""
    for name, field in fields(type(spec)).items():
        if field.pending and getattr(spec, name) != field.default:
            yield (name,), f"`{name}`"
    if spec.budget is not None:
        yield from pending_of_budget(spec.budget)
    if isinstance(spec, LMSpec):
        yield from _pending_in(spec.fallbacks, "fallbacks", "a fallback")
        yield from _pending_in(spec.pool, "pool", "a member of the pool")


def _pending_in(
    lms: Sequence[str | SoleLMSpec], field: str, which: str
) -> Iterator[tuple[Path, str]]:
    for index, lm in enumerate(lms):
        if isinstance(lm, SoleLMSpec):
            for path, what in pending(lm):
                yield (field, index, *path), f"{what} of {which}"
