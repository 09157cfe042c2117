"""Small blocks of an LM's spec: times, prices and budgets."""

from __future__ import annotations

from typing import Annotated, Literal

from lmconf.caches.specs import STORE, StoreSpec
from lmconf.schema import Choice, Duration, Either, Flag, Integer, Number, Record, Text
from lmconf.schema.declaration import Spec, operations


class TimeoutSpec(Spec, frozen=True, kw_only=True):
    """How long each phase of one attempt may take."""

    total: Annotated[
        float,
        operations(
            Duration(),
            "The whole attempt, its body included; no longer than `deadline` if that is stated.",
            untrusted="lower",
        ),
    ] = 600.0
    connect: Annotated[
        float,
        operations(
            Duration(), "Until the connection stands, TLS and proxies included.", untrusted=True
        ),
    ] = 10.0
    first_byte: Annotated[
        float | None,
        operations(
            Duration(),
            "Until the answer's first byte; left out, `total` bounds it.",
            untrusted=True,
        ),
    ] = None
    idle: Annotated[
        float | None,
        operations(
            Duration(), "Between two bytes that come; left out, `total` bounds it.", untrusted=True
        ),
    ] = None


def timeout_shorthand(short: object) -> dict[str, object] | None:
    """Return the block that `timeout: 20s` stands for, None for values that are no atoms."""
    if isinstance(short, str | int | float) and not isinstance(short, bool):
        return {"total": short}
    return None


TIMEOUT = Record(TimeoutSpec, shorthand=timeout_shorthand, short=Duration())


class HistoryPolicy(Spec, frozen=True, kw_only=True):
    """What an LM remembers of its calls, in memory."""

    max: Annotated[
        int,
        operations(Integer(0), "How many calls; the oldest are dropped first.", untrusted="lower"),
    ] = 10_000
    content: Annotated[
        bool,
        operations(
            Flag(),
            "Whether prompts and answers are kept, or only what is told about a call.",
            untrusted=True,
        ),
    ] = True


def history_shorthand(short: object) -> dict[str, object] | None:
    """Return the block that `history: false` and `true` stand for, None for other values."""
    if isinstance(short, bool):
        # Written out, so that `true` overrules an inherited `false`.
        return {"max": HistoryPolicy().max if short else 0}
    return None


HISTORY = Record(HistoryPolicy, shorthand=history_shorthand, short=Flag())


class Pricing(Spec, frozen=True, kw_only=True):
    """What tokens cost, in US dollars per million."""

    input: Annotated[float, operations(Number(0), "A million tokens of the prompt.")]
    output: Annotated[float, operations(Number(0), "A million tokens of the answer.")]
    cached_input: Annotated[
        float | None, operations(Number(0), "A million tokens that the provider had cached.")
    ] = None


class Budget(Spec, frozen=True, kw_only=True):
    """What may be spent before calls are refused."""

    cost_usd: Annotated[float | None, operations(Number(0), "US dollars.", untrusted=True)] = None
    tokens: Annotated[int | None, operations(Integer(0), "Tokens.", untrusted=True)] = None
    per: Annotated[
        Literal["run", "hour", "day", "month"],
        operations(
            Choice(("run", "hour", "day", "month")),
            "The time that the budget is for.",
            untrusted=True,
        ),
    ] = "run"
    store: Annotated[
        str | StoreSpec | None,
        operations(
            Either((Text(what="a store's name"), STORE)),
            "Where spending is kept between processes, and with Redis between machines: a name from"
            " `stores`, or a store written in place.",
            risk="count with what others spend",
            names="stores",
        ),
    ] = None
