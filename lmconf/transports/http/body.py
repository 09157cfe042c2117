"""The body of an answer, watched as it passes: its size, its pace, and how it ends."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Iterator

import httpcore
import httpx

from lmconf.errors import BadResponse
from lmconf.schema.quantities import write_size
from lmconf.secrets.redaction import mask_secrets
from lmconf.transports.clouds.eventstream import CONTENT_TYPE, FrameReader
from lmconf.transports.http.attempt import Attempt, AttemptHalted
from lmconf.transports.http.connection_pool import FAULTS
from lmconf.transports.http.response_facts import LARGEST_ERROR
from lmconf.transports.http.sse import EventReader

__all__ = ["AsyncBodyStream", "BodyStream"]

# How the servers of each API say why an answer ends, in the raw bytes of a stream. Inside a JSON
# string these quotes would be escaped, so an answer that talks of them does not match. `[DONE]`
# alone does not count: litellm then invents a reason.
_END = re.compile(
    rb'"finish_reason"\s*:\s*"|"finishReason"\s*:\s*"|"stop_reason"\s*:\s*"'
    rb'|"type"\s*:\s*"message_stop"|"done"\s*:\s*true'
    rb'|"stopReason"\s*:\s*"|"completionReason"\s*:\s*"|"amazon-bedrock-invocationMetrics"'
)
_END_LENGTH = 40

# The words themselves: litellm makes `stop` of those that it does not know.
_REASON = re.compile(
    rb'"(?:finish_reason|finishReason|stop_reason|stopReason|completionReason|done_reason)"'
    rb'\s*:\s*"([^"\\\x00-\x1f]{1,60})"'
)
_REASON_LENGTH = 100

# litellm writes the model that was asked for into every piece. The server's own name for it, such
# as the snapshot behind an alias, stands in the first of its pieces.
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\\x00-\x1f]+)"')
_BEGINNING = 4096


class _BodyWatch:
    """Counts, unpacks and reads the pieces of one answer as they pass."""

    def __init__(self, response: httpx.Response, attempt: Attempt) -> None:
        self._attempt = attempt
        self._came = self._size = 0
        self._tail = b""
        self._line = b""
        self._begun = b""
        self._before = b""
        # An error counts as what its status says, however its body is packed.
        self._packing = response.headers.get("content-encoding", "")
        self._unpack = None if response.status_code >= 300 else _unpacker(self._packing, attempt)
        content_type = response.headers.get("content-type", "")
        framed = content_type.strip().lower().startswith(CONTENT_TYPE)
        self._frames = FrameReader(attempt) if framed else None
        events = content_type.startswith("text/event-stream")
        self._respell = _Lines() if events and attempt.in_lines else None
        # litellm leaves out what it cannot read, and the answer then lacks it without a word.
        self._events = EventReader() if events and attempt.streaming and attempt.shaped else None

    def see(self, raw: bytes) -> Iterator[bytes]:
        """Yield what `raw` holds once it is unpacked.

        Raises:
            AttemptHalted: the deadline has passed, or the answer is larger than any answer may be.
        """
        attempt = self._attempt
        # What came counts like what it holds: a packed body may be long and hold nothing.
        self._came += len(raw)
        for piece in (raw,) if self._unpack is None else self._unpack(raw):
            self._size += len(piece)
            self._check_size()
            payload = piece if self._frames is None else self._frames(piece)
            if attempt.shaped:
                self._look_for_reasons(payload)
            if attempt.streaming:
                self._look_for_the_model(payload)
                self._look_for_errors(payload)
            else:
                attempt.response.note_piece(piece)
            if attempt.streaming and not attempt.response.finished:
                window = self._tail + payload
                attempt.response.finished = _END.search(window) is not None
                self._tail = window[-_END_LENGTH:]
            sound, halt = self._sound(piece)
            yield sound if self._respell is None else self._respell(sound)
            if halt is not None:
                raise halt
        self._check_size()
        if attempt.left <= 0:
            raise attempt.halt_overdue("the answer was not complete", attempt.timer.phases.total)

    def _sound(self, piece: bytes) -> tuple[bytes, AttemptHalted | None]:
        """Return what of `piece` stands before an event that is no JSON, and what it ends in."""
        at = len(piece) if self._events is None else 0
        while at < len(piece) and self._events is not None:
            end = piece.find(b"\n", at) + 1 or len(piece)
            try:
                for _ in self._events.read(piece[at:end]):
                    pass
            except BadResponse as error:
                return piece[:at], self._attempt.halt(error.with_traceback(None))
            at = end
        return piece, None

    def _check_size(self) -> None:
        most = self._attempt.max_body
        if max(self._came, self._size) > most:
            failure = BadResponse(
                f"the answer is larger than {_show_size(most)}",
                retryable=False,
                setting="max_body",
                help="raise `max_body` if answers of this size are wanted",
            )
            raise self._attempt.halt(failure)

    def excerpt(self, body: bytes) -> bytes:
        """Return as much of an error's body as is read of it; nothing if it cannot be unpacked."""
        return _beginning(_unpack_beginning(body, self._packing))

    def end(self) -> None:
        """Take note that no more pieces come."""
        self._look_for_errors(b"\n")

    def _look_for_the_model(self, piece: bytes) -> None:
        if self._attempt.response.model is None and len(self._begun) < _BEGINNING:
            self._begun += piece[:_BEGINNING]
            name = _MODEL.search(self._begun)
            if name:
                self._attempt.response.model = name[1].decode("utf-8", "replace")

    def _look_for_reasons(self, piece: bytes) -> None:
        window = self._before + piece
        for reason in _REASON.finditer(window):
            if reason.end() > len(self._before):
                self._attempt.response.finish_reasons.append(reason[1].decode("utf-8", "replace"))
        self._before = window[-_REASON_LENGTH:]

    def _look_for_errors(self, piece: bytes) -> None:
        # Inside a JSON string these quotes would be escaped.
        *lines, self._line = (self._line + piece).split(b"\n")
        for line in lines:
            if b'"error"' in line:
                self._attempt.response.note_error_line(line)
        if len(self._line) > LARGEST_ERROR:
            self._line = b""


class BodyStream(httpx.SyncByteStream):
    """The body of an answer, watched."""

    def __init__(
        self, answer: httpcore.Response, response: httpx.Response, attempt: Attempt
    ) -> None:
        self._answer = answer
        self._attempt = attempt
        self.response = response
        self._watch = _BodyWatch(response, attempt)

    def __iter__(self) -> Iterator[bytes]:
        halt: AttemptHalted | None = None
        try:
            for raw in self._answer.iter_stream():
                yield from self._watch.see(raw)
            self._watch.end()
        except FAULTS as error:
            halt = self._attempt.halt_broken(error)
        except Exception as error:
            halt = self._attempt.note_interrupt(error)
            if halt is None:
                raise
        if halt is not None:
            raise halt

    def excerpt(self) -> bytes:
        """Return the beginning of an error's body, as much of it as comes."""
        parts: list[bytes] = []
        try:
            for raw in self._answer.iter_stream():
                parts.append(raw)
                if sum(map(len, parts)) > LARGEST_ERROR or self._attempt.left <= 0:
                    break
        except FAULTS as error:  # what came of it is told
            self._attempt.note_interrupt(error)
        return self._watch.excerpt(b"".join(parts))

    def close(self) -> None:
        """Give the connection back."""
        self._answer.close()


class AsyncBodyStream(httpx.AsyncByteStream):
    """The body of an answer, watched."""

    def __init__(
        self, answer: httpcore.Response, response: httpx.Response, attempt: Attempt
    ) -> None:
        self._answer = answer
        self._attempt = attempt
        self.response = response
        self._watch = _BodyWatch(response, attempt)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        halt: AttemptHalted | None = None
        try:
            async for raw in self._answer.aiter_stream():
                for piece in self._watch.see(raw):
                    yield piece
            self._watch.end()
        except FAULTS as error:
            halt = self._attempt.halt_broken(error)
        except Exception as error:
            halt = self._attempt.note_interrupt(error)
            if halt is None:
                raise
        if halt is not None:
            raise halt

    async def excerpt(self) -> bytes:
        """Return the beginning of an error's body, as much of it as comes."""
        parts: list[bytes] = []
        try:
            async for raw in self._answer.aiter_stream():
                parts.append(raw)
                if sum(map(len, parts)) > LARGEST_ERROR or self._attempt.left <= 0:
                    break
        except FAULTS as error:  # what came of it is told
            self._attempt.note_interrupt(error)
        return self._watch.excerpt(b"".join(parts))

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._answer.aclose()


def _show_size(size: int) -> str:
    written = write_size(size)
    return written if isinstance(written, str) else f"{written} bytes"


def _beginning(body: bytes) -> bytes:
    """Return as much of `body` as is read; its last word is left out where it was cut."""
    if len(body) <= LARGEST_ERROR:
        return body
    words = body[:LARGEST_ERROR].rsplit(maxsplit=1)
    return words[0] if len(words) == 2 else b""


def _unpack_beginning(body: bytes, packing: str) -> bytes:
    """Return the beginning of what `body` holds, which may be cut; nothing if it is broken."""
    if _is_plain(packing):
        return body
    try:
        unpacker = zlib.decompressobj(wbits=47) if _is_known(packing) else None
        return unpacker.decompress(body, LARGEST_ERROR + 1) if unpacker else b""
    except zlib.error:
        return b""


def _is_plain(packing: str) -> bool:
    return packing.strip().lower() in ("", "identity")


def _is_known(packing: str) -> bool:
    return packing.strip().lower() in ("gzip", "x-gzip", "deflate")


def _unpacker(encoding: str, attempt: Attempt) -> _Unpacker | None:
    """Return what unpacks a body that came packed although none was asked for."""
    if _is_plain(encoding):
        return None
    if not _is_known(encoding):
        shown = mask_secrets(encoding, attempt.secrets)[:40]
        raise attempt.halt(BadResponse(f"the answer is compressed as {shown!r}"))
    return _Unpacker(attempt)


class _Lines:
    """Turns server-sent events into lines of JSON, which are all that litellm reads of Cohere's."""

    def __init__(self) -> None:
        self._line = b""

    def __call__(self, piece: bytes) -> bytes:
        *lines, self._line = (self._line + piece).split(b"\n")
        data = (line[5:].strip() for line in lines if line.startswith(b"data:"))
        return b"".join(line + b"\n" for line in data if line != b"[DONE]")


class _Unpacker:
    """Unpacks gzip and zlib in pieces of bounded size, so that no small body becomes a huge one."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._state = zlib.decompressobj(wbits=47)

    def __call__(self, raw: bytes) -> Iterator[bytes]:
        halt: AttemptHalted | None = None
        try:
            while raw or not self._state.eof:
                if self._state.eof:  # a body may be packed in several parts
                    self._state = zlib.decompressobj(wbits=47)
                piece = self._state.decompress(raw, 2**20)
                raw = self._state.unused_data or self._state.unconsumed_tail
                if piece:
                    yield piece
                elif not raw:
                    break
        except zlib.error:
            halt = self._attempt.halt(BadResponse("the compressed answer is damaged"))
        if halt is not None:
            raise halt
