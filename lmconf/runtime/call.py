"""One call on its way through the layers: what is asked, what comes back, and what layers may do.

A layer is a generator: it yields a command, is sent the outcome, and returns a `Reply`. So it is
written once; `lmconf.runtime.driver` carries the commands out with or without an event loop.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from time import monotonic
from time import time as now
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from msgspec import Struct, field

from lmconf.callbacks import Dispatcher, Event
from lmconf.errors import BadResponse, Cause
from lmconf.runtime.answer import Answer, TruncatedWarning, is_truncated, outputs_of, texts_of
from lmconf.runtime.call_result import CallId, CallResult, id_text
from lmconf.runtime.stored import StoredResponse
from lmconf.runtime.usage import Tally, tracking
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import Masked
from lmconf.spec.lm import LMSpec
from lmconf.spec.response_format import FormatMismatch, Read
from lmconf.system.signal import OneShotEvent
from lmconf.transports import Json, Request, Transport

if TYPE_CHECKING:
    from lmconf.runtime.layers.cache import CachePlace
    from lmconf.runtime.resources import LMResources

__all__ = [
    "Call",
    "Command",
    "Layer",
    "Next",
    "OpenStream",
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
    `OpenStream`.
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

    signal: OneShotEvent
    seconds: float


Command: TypeAlias = Send | Sleep | Perform | Wait


class OpenStream:
    """A stream whose answer has begun: the chunks that have come, and those that will."""

    def __init__(
        self, first_chunks: list[Json], rest: Iterator[Json] | AsyncIterator[Json]
    ) -> None:
        self.first_chunks = first_chunks
        self.rest = rest


class Call(Masked, Struct, eq=False):
    """What is asked of an LM once, and what has been done for it so far.

    `spec` is the LM's own with the call's settings laid over it. `read` makes of a text what the
    call's `response_format` asks for; None leaves texts as they are. `tallies` add up what is
    used, beside the LM's own. `dispatcher` hands out the events to the callbacks of the LM that
    was called (None: it has none): a fallback's call is given the `dispatcher` and the `id` of the
    call that it stands in for. `place` is where the answer will be kept, None: nowhere.
    `settings` are those of the call as they were given, and `causes` tell of the attempts that
    failed. A call that is `guarded` has somewhere else to go: it leaves a server alone that keeps
    failing. A call to a pool has the call of the `member` that it asked last, and which ones it
    has tried in this round.
    """

    parts: LMResources
    spec: LMSpec
    prompt: str | None
    messages: list[dict[str, Any]]
    stream: bool = False
    read: Read | None = None
    settings: Mapping[str, Any] = FrozenMap()
    dispatcher: Dispatcher | None = None
    id: CallId | None = None
    tallies: tuple[Tally, ...] = field(default_factory=tracking)
    time: float = field(default_factory=now)
    started: float = field(default_factory=monotonic)
    attempts: int = 0
    waited: float = 0.0
    first_token: float | None = None
    place: CachePlace | None = None
    causes: list[Cause] = []
    guarded: bool = False
    member: Call | None = None
    tried_members: set[int] = set()
    _reading: tuple[Json, object, FormatMismatch | None] | None = None

    def __repr__(self) -> str:
        """Name the LM alone: prompts and settings are nobody's else."""
        return f"<call of {self.parts.name}>"

    def made_by(
        self, parts: LMResources, spec: LMSpec, read: Read | None, *, attempts: int = 0
    ) -> Call:
        """Return the call as the LM of `parts` makes it, which has the same time for it."""
        return Call(
            parts,
            spec,
            self.prompt,
            self.messages,
            stream=self.stream,
            read=read,
            dispatcher=self.dispatcher,
            id=self.id,
            tallies=self.tallies,
            time=self.time,
            started=self.started,
            attempts=attempts,
        )

    @property
    def left(self) -> float:
        """The seconds until the call's deadline."""
        return self.started + self.spec.deadline - monotonic()

    def tell(self, kind: Callable[..., Event], **what: object) -> None:
        """Tell the callbacks, if there are any, of an event of `kind` that says `what`.

        The call's id, the LM, its model and the time are filled in.

            call.tell(LimitWait, seconds=0.5, limit="requests")
        """
        if self.dispatcher:
            self.dispatcher.tell(
                kind(
                    call_id=id_text(self.id) if self.id is not None else "",
                    lm=self.parts.name,
                    model=self.spec.model,
                    time=now(),
                    **what,
                )
            )

    def fits(self, response: Json) -> bool:
        """Say whether `response` has the form that was asked for."""
        return self.reading_of(response)[1] is None

    def reading_of(self, response: Json) -> tuple[object, FormatMismatch | None]:
        """Return what the first answer says in the form that was asked for, or why it does not.

        Where nothing was asked for, or nothing is said, it is None. One response is read once,
        whoever asks.
        """
        reading = self._reading
        if reading is None or reading[0] is not response:
            reading = self._reading = (response, *self._read_from(response))
        return reading[1:]

    def _read_from(self, response: Json) -> tuple[object, FormatMismatch | None]:
        text = texts_of(response)[0] if self.read is not None else ""
        if not text or self.read is None:
            return None, None
        try:
            return self.read(text), None
        except FormatMismatch as misfit:
            return None, misfit.with_traceback(None)


Waiting: TypeAlias = tuple[Callable[[Json], None], Callable[[BaseException], None] | None]
"""What is called with a response when there is one, and what is called with a failure."""


class Reply(Struct, eq=False):
    """What came back: a whole response, what a store held of one, or a stream that was opened.

    What a layer does with the whole response it hands to `when_done`. It is done once: at once
    for a whole response, and when the last chunk was read or the stream failed for an opened one.
    `outcome` is what is known of the call once it was answered.
    `misfit` says why the answer has not the form that was asked for. `by` is the call that stood
    in for the one made, where another LM answered.
    """

    _response: Json | None = None
    open_stream: OpenStream | None = None
    stored: StoredResponse | None = None
    request_id: str | None = None
    by: Call | None = None
    outcome: CallResult | None = None
    misfit: BadResponse | None = None
    _waiting: list[Waiting] = []
    _has_ended: bool = False

    @property
    def response(self) -> Json | None:
        """The whole response, once there is one."""
        if self._response is None and self.stored is not None:
            return self.stored.response
        return self._response

    @property
    def cache_hit(self) -> bool:
        """Whether a store answered."""
        return self.stored is not None

    @property
    def answer(self) -> Answer | None:
        """The whole answer, once there is one."""
        return None if self.outcome is None else self.outcome.answer

    @property
    def outputs(self) -> list[Any]:
        """What calling the LM returns, always a new list."""
        if self.stored is not None:
            return self.stored.outputs
        return [] if self._response is None else outputs_of(self._response)

    @property
    def truncated(self) -> bool:
        """Whether there is an answer that `max_tokens` cut short."""
        if self.stored is not None:
            return self.stored.truncated
        return self._response is not None and is_truncated(self._response)

    def when_done(
        self,
        on_success: Callable[[Json], None],
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Call `on_success` with the response, or `on_failure` with what ended the stream."""
        response = self.response
        if response is not None:
            on_success(response)
        else:
            self._waiting.append((on_success, on_failure))

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
        if not self._is_over():
            self._has_ended = True
            self._response = response
            for on_success, _ in self._take_waiting():
                on_success(response)

    def fail(self, error: BaseException) -> None:
        """Note that the stream has ended without a whole answer."""
        if not self._is_over():
            self._has_ended = True
            for _, on_failure in self._take_waiting():
                if on_failure is not None:
                    on_failure(error)

    def _is_over(self) -> bool:
        return self._has_ended or self.open_stream is None

    def _take_waiting(self) -> list[Waiting]:
        # What waits knows this reply: kept any longer, neither of them would be gone in time.
        waiting, self._waiting = self._waiting, []
        return waiting


def warn_if_truncated(reply: Reply, *, depth: int = 3) -> None:
    """Warn whoever called, `depth` frames up, of an answer that `max_tokens` cut short."""
    if reply.truncated:
        assert reply.answer is not None
        warnings.warn(
            f"{reply.answer.lm}: the answer was truncated by `max_tokens`; raise it for a complete answer",
            TruncatedWarning,
            stacklevel=depth,
        )


Steps: TypeAlias = Generator[Command, Any, Reply]
Next: TypeAlias = Callable[[Call], Steps]


class Layer(Protocol):
    """What is done about a call: by `following`, before it and after it."""

    def __call__(self, call: Call, following: Next) -> Steps:
        """Return the steps of `call`."""
