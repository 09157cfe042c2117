"""The events of a stream, read from bytes as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lmconf.errors import BadResponse
from lmconf.system.tracebacks import is_interrupt
from lmconf.transports.transport import Json

__all__ = ["EventReader"]


class EventReader:
    """Reads server-sent events (WHATWG HTML, 9.2) from bytes as they come.

    `done` says that OpenAI's mark of a stream's end, `[DONE]`, has come.
    """

    def __init__(self) -> None:
        self.done = False
        self._left: list[bytes] = []
        self._name = ""
        self._data: list[bytes] = []

    def read(self, piece: bytes) -> Iterator[Json]:
        """Yield every event that `piece` completes, as the JSON object in it.

        An object that does not say its `type` has that of the event's name.

        Raises:
            BadResponse: an event holds something else than a JSON object.
        """
        self._left.append(piece)
        if b"\n" not in piece:
            return  # joined once, when the line is whole: it may come in very many pieces
        *lines, rest = b"".join(self._left).split(b"\n")
        self._left = [rest]
        for line in lines:
            name, _, value = line.removesuffix(b"\r").partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            elif name == b"event":
                self._name = value.removeprefix(b" ").decode("utf-8", "replace")
            elif not name and not value:
                event = self._event()
                if event is not None:
                    yield event

    def _event(self) -> Json | None:
        data, name = b"\n".join(self._data), self._name
        self._data, self._name = [], ""
        self.done = self.done or data.startswith(b"[DONE]")
        if not data or self.done:
            return None
        try:
            event: Any = json.loads(data)
        except (ValueError, RecursionError) as error:
            if is_interrupt(error):
                raise
            event = None
        if not isinstance(event, dict):
            raise BadResponse("a piece of the stream is malformed")
        return event if "type" in event else {"type": name, **event}
