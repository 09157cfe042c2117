"""One gate for everything that is sent to one origin with one credential.

Whoever wants to send asks for a permit and waits in line: threads and tasks of any event loop
alike, first come, first served. Nothing waits in here: the gate rings the bell of whoever may go
on, and is told by whoever waits that a time has come.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Literal, Protocol, TypeAlias

from lmconf.limits.adaptive import AdaptiveLimit
from lmconf.limits.specs import Limits
from lmconf.limits.window import SlidingWindow, WindowEntry
from lmconf.system.fork import Mutex, register_forkable

__all__ = ["End", "Gate", "Limit", "Permit", "Share", "WakeUp", "gate_key", "gate_of"]

End: TypeAlias = Literal["answered", "refused", "failed", "other"]
"""How an attempt ended: with an answer, a rate limit, a failure of the server, or otherwise."""


Limit: TypeAlias = Literal["max_concurrency", "rpm", "tpm"]


class WakeUp(Protocol):
    """Wakes whoever waits."""

    def give(self) -> object:
        """Let it go on; this must be safe in any thread, and in a finalizer."""


class Permit:
    """The right to send once, or a place in the line for it.

    `held_by` names the limit that last held it up at the head of the line.
    """

    __slots__ = (
        "bell",
        "due",
        "entry",
        "gate",
        "generation",
        "held_by",
        "sent_at",
        "state",
        "tokens",
    )

    def __init__(self, gate: Gate, tokens: int) -> None:
        self.tokens = tokens
        self.held_by: Limit = "max_concurrency"
        self.gate = gate
        self.generation = gate.generation
        self.state: Literal["waiting", "granted", "over"] = "waiting"
        self.bell: WakeUp | None = None
        self.due: float | None = None
        self.entry: WindowEntry | None = None
        self.sent_at = 0.0

    def ask(self, bell: WakeUp) -> float | None:
        """Return None if the permit is granted, else for how many seconds to wait for `bell`.

        Ask again, with another bell, when it rings or the time is over.
        """
        return self.gate.ask(self, bell)

    def end(
        self, end: End = "other", tokens: int | None = None, retry_after: float | None = None
    ) -> None:
        """Give the permit back, or leave the line; a second time changes nothing.

        `tokens` are those that were used in truth, None where nobody knows. `retry_after` is how
        many seconds a server that refused asked for.
        """
        self.gate.end(self, end, tokens, retry_after)


class Share:
    """An LM's part in a gate: its `limits` count while the share lives."""

    __slots__ = ("__weakref__", "gate", "limits")

    def __init__(self, gate: Gate, limits: Limits) -> None:
        self.gate = gate
        self.limits = limits

    def permit(self, tokens: int) -> Permit:
        """Return a new place at the end of the line, for a request of about `tokens`."""
        return self.gate.permit(tokens)


class Gate:
    """Lets requests pass as the strictest of its shares' limits say.

    Permits are given back by finalizers, too, in whatever a thread was doing. So whatever happens
    to a gate is put down as news, which one thread at a time takes in.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shares: set[weakref.ref[Share]] = set()
        self.generation = 0
        self._fixed: float = inf
        self._adapts = False
        self._rpm: int | None = None
        self._tpm: int | None = None
        self._begin()
        register_forkable(self)

    def _begin(self) -> None:
        self._lock = Mutex()
        self._busy = False
        self._news: deque[Callable[[float], None]] = deque()
        self._line: deque[Permit] = deque()
        self._in_flight = 0
        self._full_at = -inf
        self._requests, self._tokens = SlidingWindow(), SlidingWindow()
        self.adaptive = AdaptiveLimit()

    def share(self, limits: Limits) -> Share:
        """Return a new part in this gate."""
        share = Share(self, limits)
        me = weakref.ref(self)

        def leave(reference: weakref.ref[Share]) -> None:
            gate = me()
            if gate is not None:
                gate._tell(lambda _: gate._leave(reference))  # noqa: SLF001 - itself

        reference = weakref.ref(share, leave)
        self._tell(lambda _: self._join(reference))
        return share

    def permit(self, tokens: int) -> Permit:
        """Return a new place at the end of the line, for a request of about `tokens`."""
        permit = Permit(self, tokens)
        self._tell(lambda _: self._line.append(permit))
        return permit

    @property
    def shared(self) -> bool:
        """Whether anybody has a share, or a permit."""
        return bool(self._shares or self._in_flight or self._line)

    @property
    def most(self) -> float:
        """How many requests may be in flight now."""
        return min(self._fixed, self.adaptive.limit) if self._adapts else self._fixed

    @property
    def in_flight(self) -> int:
        """How many requests are."""
        return self._in_flight

    # What happens to it

    def ask(self, permit: Permit, bell: WakeUp) -> float | None:
        """Carry out `Permit.ask`."""
        permit.bell = bell
        self._tell()
        if permit.state != "waiting":
            return None
        due = permit.due
        return inf if due is None else max(0.0, due - self._clock())

    def end(self, permit: Permit, end: End, tokens: int | None, retry_after: float | None) -> None:
        """Carry out `Permit.end`."""
        if permit.generation == self.generation:
            self._tell(lambda now: self._finish(permit, end, tokens, retry_after, now))

    def _tell(self, news: Callable[[float], None] | None = None) -> None:
        """Take in what happened, and let go on who may."""
        if news is not None:
            self._news.append(news)
        with self._lock:
            # A finalizer in this very thread: what it tells is taken in further up the stack.
            while not self._busy:
                self._busy = True
                try:
                    while self._news:
                        self._news.popleft()(self._clock())
                    self._serve(self._clock())
                finally:
                    self._busy = False
                if not self._news:
                    break

    def _join(self, share: weakref.ref[Share]) -> None:
        self._shares.add(share)
        self._agree()

    def _leave(self, share: weakref.ref[Share]) -> None:
        self._shares.discard(share)
        self._agree()

    def _agree(self) -> None:
        """Work out the strictest of what the shares say; the last one's holds on."""
        limits_of_shares = [
            share.limits for reference in self._shares if (share := reference()) is not None
        ]
        if not limits_of_shares:
            return
        numbers = [limits.max_concurrency for limits in limits_of_shares]
        self._adapts = "adaptive" in numbers
        self._fixed = min((n for n in numbers if isinstance(n, int)), default=inf)
        self._rpm = min((s.rpm for s in limits_of_shares if s.rpm is not None), default=None)
        self._tpm = min((s.tpm for s in limits_of_shares if s.tpm is not None), default=None)

    def _finish(
        self,
        permit: Permit,
        end: End,
        tokens: int | None,
        retry_after: float | None,
        now: float,
    ) -> None:
        was, permit.state = permit.state, "over"
        if was == "waiting":
            self._line.remove(permit)
        if was != "granted":
            return
        self._in_flight -= 1
        if permit.entry is not None and tokens is not None:
            self._tokens.correct(permit.entry, tokens)
        if end == "answered":
            self.adaptive.record_answer(now, all_used=permit.sent_at <= self._full_at)
        elif end == "refused":
            self.adaptive.record_refusal(now, sent_at=permit.sent_at, retry_after=retry_after)
        elif end == "failed":
            self.adaptive.record_failure(now)

    def _serve(self, now: float) -> None:
        """Let pass from the head of the line who may; tell the next when to ask again."""
        while self._line:
            head = self._line[0]
            due = None
            if self._in_flight >= self.most:
                head.held_by = "max_concurrency"
            else:
                due = self._opens_at(head, now)
                if due <= now:
                    self._line.popleft()
                    self._grant(head, now)
                    continue
            # It need not be told of a later time: it asks then, and hears of the rest.
            sooner = due is not None and (head.due is None or due < head.due)
            head.due = due
            if sooner:
                self._ring(head)
            return

    def _opens_at(self, permit: Permit, now: float) -> float:
        requests = tokens = -inf
        if self._rpm is not None:
            requests = self._requests.opens_at(1, self._rpm, now)
        if self._tpm is not None:
            tokens = self._tokens.opens_at(permit.tokens, self._tpm, now)
        opens = max(requests, tokens)
        if opens > now:
            permit.held_by = "rpm" if requests >= tokens else "tpm"
        return opens

    def _grant(self, permit: Permit, now: float) -> None:
        permit.state = "granted"
        permit.sent_at = now
        self._in_flight += 1
        if self._in_flight >= self.most:
            self._full_at = now
        if self._rpm is not None:
            self._requests.add(1, now)
        if self._tpm is not None:
            permit.entry = self._tokens.add(permit.tokens, now)
        self._ring(permit)

    def _ring(self, permit: Permit) -> None:
        bell, permit.bell = permit.bell, None
        if bell is not None:
            bell.give()

    def before_fork(self) -> None:
        """Nothing crosses a fork that would have to be closed."""

    def after_fork(self, in_child: bool) -> None:
        """Begin anew in the child, as any other process: nobody is in flight or waits here."""
        if in_child:
            self.generation += 1
            self._begin()
            self._agree()

    def __repr__(self) -> str:
        return f"<Gate {self._in_flight} in flight, {len(self._line)} waiting>"


MOST = 256
"""How many gates there are before those that nobody uses any more are forgotten."""


class _GateRegistry:
    def __init__(self) -> None:
        self._gates: dict[bytes, Gate] = {}
        self._lock = Mutex()
        # Nobody can tell from a mark, in a dump of this memory say, which keys it might be of.
        self._secret = os.urandom(32)

    def mark_of(self, texts: Iterable[str]) -> bytes:
        digest = hashlib.blake2b(key=self._secret, digest_size=16)
        for text in texts:
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
        return digest.digest()

    def gate_of(self, mark: bytes) -> Gate:
        with self._lock:
            gate = self._gates.get(mark)
            if gate is None:
                if len(self._gates) >= MOST:
                    self._gates = {key: gate for key, gate in self._gates.items() if gate.shared}
                gate = self._gates[mark] = Gate()
            return gate


@functools.cache
def _gates() -> _GateRegistry:
    return _GateRegistry()


def gate_key(texts: Iterable[str]) -> bytes:
    """Return a mark of an origin and a credential, equal within this process for equal `texts`.

    Nothing can be learnt of the texts from it.
    """
    return _gates().mark_of(texts)


def gate_of(mark: bytes) -> Gate:
    """Return the gate of this process for `mark`, made when it is first asked for."""
    return _gates().gate_of(mark)
