"""What the server said in an answer, beside the answer itself."""

from __future__ import annotations

import httpx

from lmconf.errors import CallError
from lmconf.transports.error_bodies import ErrorBody, find_error, read_error_line
from lmconf.transports.status_errors import error_in_answer, request_id

__all__ = ["LARGEST_ERROR", "ResponseFacts"]

LARGEST_ERROR = 64 * 2**10
"""The most bytes of an error's body that are read."""


class ResponseFacts:
    """What is noted of an answer as it passes.

    `finish_reasons` are in the server's own words, `finished` says that the server has said how
    the answer ends, and `model` is the server's name for it.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.request_id: str | None = None
        self.finished = False
        self.finish_reasons: list[str] = []
        self.model: str | None = None
        self._error: ErrorBody | None = None
        self._beginning: bytes | None = b""

    def begin(self, response: httpx.Response, secrets: tuple[str, ...]) -> None:
        """Note the status and the id of an answer that begins."""
        self.status = response.status_code
        self.request_id = request_id(response.headers, secrets)

    def note_piece(self, piece: bytes) -> None:
        """Keep the beginning of a whole answer: it may turn out to be an error."""
        if self._beginning is not None:
            self._beginning += piece
            if len(self._beginning) > LARGEST_ERROR:
                self._beginning = None

    def note_error_line(self, line: bytes) -> None:
        """Note a line of a stream that speaks of an error."""
        if self._error is None:
            self._error = read_error_line(line)

    def reported_error(self, secrets: tuple[str, ...]) -> CallError | None:
        """Return the failure that the server reports inside of an answer of status 200."""
        error = self._error
        if error is None and self._beginning and b"error" in self._beginning:
            error = find_error(self._beginning)
        if error is None:
            return None
        failure = error_in_answer(error, self.status, secrets)
        failure.request_id = self.request_id or failure.request_id
        return failure

    def add_to(self, failure: CallError) -> CallError:
        """Return `failure` with the status and the id of the answer, where one began."""
        if failure.status is None:
            failure.status = self.status
        failure.request_id = failure.request_id or self.request_id
        return failure
