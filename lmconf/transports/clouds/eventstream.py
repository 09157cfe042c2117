"""AWS's event stream: the frames of an answer, read for how it ends.

Each frame holds lengths, headers, a payload and checksums (the encoding of
`application/vnd.amazon.eventstream`, docs.aws.amazon.com/transcribe/latest/dg/event-stream.html).
Bedrock's `invoke` packs a second time: a payload is JSON whose `bytes` are in base64.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct

from lmconf.errors import BadResponse
from lmconf.transports.http.attempt import Attempt

__all__ = ["CONTENT_TYPE", "FrameReader"]

CONTENT_TYPE = "application/vnd.amazon.eventstream"
"""What an answer that comes in frames says of itself."""

_PRELUDE = 12
_LONGEST_FRAME = 16 * 2**20
_TEXT = 7  # the type of a header whose value is text
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_STATUSES = {
    "throttlingexception": 429,
    "servicequotaexceededexception": 429,
    "serviceunavailableexception": 503,
    "internalserverexception": 500,
    "internalstreamfailure": 500,
    "modelstreamerrorexception": 502,
    "modeltimeoutexception": 504,
    "modelerror": 502,
    "validationexception": 400,
    "accessdeniedexception": 403,
}


class FrameReader:
    """Takes the pieces of a stream as they come, and returns what its events say."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._held = bytearray()

    def __call__(self, piece: bytes) -> bytes:
        """Return the payloads that `piece` completes.

        Raises:
            AttemptHalted: the server says in the stream that it failed, or a frame is malformed.
        """
        self._held += piece
        said = []
        while len(self._held) >= _PRELUDE:
            length, headers = struct.unpack_from(">II", self._held)
            if not _PRELUDE + 4 + headers <= length <= _LONGEST_FRAME:
                raise self._attempt.halt(BadResponse("a frame of the stream is malformed"))
            if len(self._held) < length:
                break
            frame = bytes(self._held[:length])
            del self._held[:length]
            said.append(self._read(frame, headers))
        return b"".join(said)

    def _read(self, frame: bytes, length: int) -> bytes:
        payload = frame[_PRELUDE + length : -4]
        told = _headers(frame[_PRELUDE : _PRELUDE + length])
        if told.get(":message-type", "event") == "event":
            return _unpack_payload(payload)
        code = told.get(":exception-type") or told.get(":error-code") or "error"
        status = _STATUSES.get(code.lower(), 500)
        if not payload:
            payload = json.dumps({"message": told.get(":error-message", code)}).encode()
        raise self._attempt.refuse_within(status, payload)


def _headers(raw: bytes) -> dict[str, str]:
    """Return the headers of a frame that are text; what is malformed ends them."""
    found: dict[str, str] = {}
    at = 0
    while at < len(raw):
        end = at + 1 + raw[at]
        name, kind = raw[at + 1 : end].decode("utf-8", "replace"), raw[end : end + 1]
        at = end + 1
        if not kind:
            break
        if kind[0] in _SIZES:
            at += _SIZES[kind[0]]
            continue
        size = int.from_bytes(raw[at : at + 2], "big")
        if kind[0] == _TEXT:
            found[name] = raw[at + 2 : at + 2 + size].decode("utf-8", "replace")
        at += 2 + size
    return found


def _unpack_payload(payload: bytes) -> bytes:
    if not payload.startswith(b'{"bytes"'):
        return payload
    try:
        return base64.b64decode(json.loads(payload)["bytes"], validate=True)
    except (ValueError, TypeError, binascii.Error):
        return payload
