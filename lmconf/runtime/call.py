"""One call on its way through the layers: what is asked, what comes back, and what layers may do.

A layer is a generator: it yields a command, is sent the outcome, and returns a `Reply`. So it is
written once; `lmconf.runtime.driving` carries the commands out with or without an event loop.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from lmconf.callbacks import Dispatcher, Event
from lmconf.errors import BadResponse, Cause
from lmconf.profile.formats import Misfit, Read
from lmconf.profile.lm import LMSpec
from lmconf.runtime.answer import Answer, TruncatedWarning, is_truncated, outputs_of, texts_of
from lmconf.runtime.signals import Signal
from lmconf.runtime.usage import tracking
from lmconf.spec.frozen import FrozenMap
from lmconf.transports import Json, Request, Transport

if TYPE_CHECKING:
    from lmconf.runtime.parts import Parts
    from lmconf.runtime.places import Place

__all__ = [
    "Call",
    "Command",
    "Layer",
    "Next",
    "Opened",
    "Perform",
    "Reply",
    "Send",
    "Sleep",
    "Steps",
    "Wait",
    "warn_if_truncated",
]


class Send(Struct, frozen=True, eq=False):
    """Send `request` once by `transport`; the outcome is the response, or with `stream` an
    `Opened`.
    """

    transport: Transport
    request: Request
    stream: bool


class Sleep(Struct, frozen=True):
    """Wait for `seconds`; the outcome is None."""

    seconds: float


class Perform(Struct, frozen=True, eq=False):
    """Call `work`, which may block for long; the outcome is what it returns."""

    work: Callable[[], Any]


class Wait(Struct, frozen=True, eq=False):
    """Wait until `signal` is given, for `seconds` at most; the outcome says whether it was."""

    signal: Signal
    seconds: float


Command: TypeAlias = Send | Sleep | Perform | Wait


class Opened:
    """A stream whose answer has begun: the chunks that have come, and those that will."""

    def __init__(self, begun: list[Json], rest: Iterator[Json] | AsyncIterator[Json]) -> None:
        self.begun = begun
        self.rest = rest


class Call:
    """What is asked of an LM once, and what has been done for it so far.

    `spec` is the LM's own with the call's settings laid over it. `read` makes of a text what the
    call's `response_format` asks for; None leaves texts as they are. `tallies` add up what is
    used, beside the LM's own. `dispatcher` hands out the events to the callbacks of the LM that
    was called (None: it has none): a fallback's call is given the `dispatcher` and the `id` of the
    call that it stands in for. `place` is where the answer will be kept, None: nowhere.
    `settings` are those of the call as they were given, and `causes` tell of the attempts that
    failed. A call that is `guarded` has somewhere else to go: it leaves a server alone that keeps
    failing. A call to a pool has the call of the `member` that it asked last, and which ones it
    has `tried` in this round.
    """

    __slots__ = (
        "attempts",
        "causes",
        "dispatcher",
        "first_token",
        "guarded",
        "id",
        "member",
        "messages",
        "parts",
        "place",
        "prompt",
        "read",
        "settings",
        "spec",
        "started",
        "stream",
        "tallies",
        "time",
        "tried",
        "waited",
    )

    def __init__(
        self,
        parts: Parts,
        spec: LMSpec,
        prompt: str | None,
        messages: list[dict[str, Any]],
        *,
        stream: bool,
        read: Read | None = None,
        settings: Mapping[str, Any] = FrozenMap(),
    ) -> None:
        self.parts = parts
        self.spec = spec
        self.prompt = prompt
        self.messages = messages
        self.stream = stream
        self.read = read
        self.settings = settings
        self.tallies = tracking()
        self.dispatcher: Dispatcher | None = parts.heard
        self.id = ""
        self.time = time.time()
        self.started = time.monotonic()
        self.attempts = 0
        self.waited = 0.0
        self.first_token: float | None = None
        self.place: Place | None = None
        self.causes: list[Cause] = []
        self.guarded = False
        self.member: Call | None = None
        self.tried: set[int] = set()

    @property
    def left(self) -> float:
        """The seconds until the call's deadline."""
        return self.started + self.spec.deadline - time.monotonic()

    def tell(self, kind: Callable[..., Event], **what: object) -> None:
        """Tell the callbacks, if there are any, of an event of `kind` that says `what`.

        The call's id, the LM, its model and the time are filled in.

            call.tell(LimitWait, seconds=0.5, limit="requests")
        """
        if self.dispatcher:
            self.dispatcher.tell(
                kind(
                    call_id=self.id,
                    lm=self.parts.name,
                    model=self.spec.model,
                    time=time.time(),
                    **what,
                )
            )

    def fits(self, response: Json) -> bool:
        """Say whether `response` has the form that was asked for."""
        return self.reading_of(response)[1] is None

    def reading_of(self, response: Json) -> tuple[object, Misfit | None]:
        """Return what the first answer says in the form that was asked for, or why it does not.

        Where nothing was asked for, or nothing is said, it is None.
        """
        text = texts_of(response)[0] if self.read is not None else ""
        if not text or self.read is None:
            return None, None
        try:
            return self.read(text), None
        except Misfit as misfit:
            return None, misfit.with_traceback(None)


class Reply:
    """What came back: a whole response, or a stream that has been opened.

    What a layer does with the whole response it hands to `when_done`. It is done once: at once
    for a whole response, and when the last chunk was read or the stream failed for an opened one.
    `misfit` says why the answer has not the form that was asked for. `by` is the call that stood
    in for the one made, where another LM answered.
    """

    __slots__ = (
        "_answer",
        "_done",
        "_outputs",
        "_waiting",
        "by",
        "cache_hit",
        "misfit",
        "opened",
        "request_id",
        "response",
    )

    def __init__(
        self,
        response: Json | None = None,
        opened: Opened | None = None,
        *,
        cache_hit: bool = False,
        request_id: str | None = None,
    ) -> None:
        self.response = response
        self.opened = opened
        self.cache_hit = cache_hit
        self.request_id = request_id
        self.by: Call | None = None
        self._answer: Answer | Callable[[], Answer] | None = None
        self._outputs: list[Any] | None = None
        self.misfit: BadResponse | None = None
        self._done = response is not None
        self._waiting: list[
            tuple[Callable[[Json], None], Callable[[BaseException], None] | None]
        ] = []

    @property
    def answer(self) -> Answer | None:
        """The whole answer, once there is one; it is made when somebody asks for it."""
        if callable(self._answer):
            self._answer = self._answer()
        return self._answer

    @property
    def outputs(self) -> list[Any]:
        """What calling the LM returns."""
        if self._outputs is None:
            self._outputs = outputs_of(self.response) if self.response is not None else []
        return self._outputs

    def is_answered(self, answer: Callable[[], Answer]) -> None:
        """Note what makes the answer."""
        self._answer = answer

    def when_done(
        self,
        succeeded: Callable[[Json], None],
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Have `succeeded` called with the response, or `failed` with what ended the stream."""
        if self.response is not None:
            succeeded(self.response)
        else:
            self._waiting.append((succeeded, failed))

    def in_form(self) -> Answer:
        """Return the answer.

        Raises:
            BadResponse: it has not the form that was asked for.
        """
        if self.misfit is not None:
            raise self.misfit
        assert self.answer is not None
        return self.answer

    def complete(self, response: Json) -> None:
        """Note that the stream has ended with `response`; later news counts for nothing."""
        if not self._done:
            self._done = True
            self.response = response
            for succeeded, _ in self._taken():
                succeeded(response)

    def fail(self, error: BaseException) -> None:
        """Note that the stream has ended without a whole answer."""
        if not self._done:
            self._done = True
            for _, failed in self._taken():
                if failed is not None:
                    failed(error)

    def _taken(
        self,
    ) -> list[tuple[Callable[[Json], None], Callable[[BaseException], None] | None]]:
        # What waits knows this reply: kept any longer, neither of them would be gone in time.
        waiting, self._waiting = self._waiting, []
        return waiting


def warn_if_truncated(reply: Reply, *, depth: int = 3) -> None:
    """Warn whoever called, `depth` frames up, of an answer that `max_tokens` cut short."""
    if reply.response is not None and is_truncated(reply.response):
        assert reply.answer is not None
        warnings.warn(
            f"{reply.answer.lm}: the answer was cut short by `max_tokens`; raise it for a whole one",
            TruncatedWarning,
            stacklevel=depth,
        )


Steps: TypeAlias = Generator[Command, Any, Reply]
Next: TypeAlias = Callable[[Call], Steps]
Layer: TypeAlias = Callable[[Call, Next], Steps]
