"""AWS's event stream: the frames of an answer, read for how it ends.

botocore takes the frames apart, and checks their lengths and checksums. Bedrock's `invoke` packs a
second time: a payload is JSON whose `bytes` are in base64.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import importlib
import json
import struct
from collections.abc import Mapping
from typing import Any

from lmconf.errors import BadResponse, NotCarriedOut
from lmconf.transports.http.attempt import Attempt, AttemptHalted

__all__ = ["CONTENT_TYPE", "FrameReader"]

CONTENT_TYPE = "application/vnd.amazon.eventstream"
"""What an answer that comes in frames says of itself."""

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
    """Takes the pieces of a stream as they come, and returns what its events say.

    Raises:
        AttemptHalted: botocore, which reads the frames, is not installed.
    """

    def __init__(self, attempt: Attempt) -> None:
        botocore: Any = None
        with contextlib.suppress(ImportError):  # signing has imported most of it
            botocore = importlib.import_module("botocore.eventstream")
        if botocore is None:
            raise attempt.halt(
                NotCarriedOut(
                    "an answer in AWS's event stream needs the package botocore",
                    help="pip install 'lmconf-runtime[aws]'",
                )
            )
        self._attempt = attempt
        self._frames = botocore.EventStreamBuffer()
        # What the headers of a broken frame raise is not botocore's own.
        self._faults = (botocore.ParserError, struct.error, LookupError, ValueError)

    def __call__(self, piece: bytes) -> bytes:
        """Return the payloads that `piece` completes.

        Raises:
            AttemptHalted: the server says in the stream that it failed, or a frame is malformed.
        """
        self._frames.add_data(piece)
        halt: AttemptHalted | None = None
        payloads = b""
        try:
            payloads = b"".join(self._read(frame.headers, frame.payload) for frame in self._frames)
        except self._faults as error:
            halt = self._attempt.note_interrupt(error) or self._attempt.halt(
                BadResponse("a frame of the stream is malformed")
            )
        if halt is not None:
            raise halt
        return payloads

    def _read(self, headers: Mapping[str, object], payload: bytes) -> bytes:
        if headers.get(":message-type", "event") == "event":
            return _unpack_payload(payload)
        code = str(headers.get(":exception-type") or headers.get(":error-code") or "error")
        status = _STATUSES.get(code.lower(), 500)
        if not payload:
            payload = json.dumps({"message": str(headers.get(":error-message", code))}).encode()
        raise self._attempt.refuse_within(status, payload)


def _unpack_payload(payload: bytes) -> bytes:
    if not payload.startswith(b'{"bytes"'):
        return payload
    try:
        return base64.b64decode(json.loads(payload)["bytes"], validate=True)
    except (ValueError, TypeError, binascii.Error):
        return payload
