"""Waits until a server serves the right model, and tells why it does not."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from msgspec import Struct

from lmconf.errors import LaunchError
from lmconf.secrets.references import Masked
from lmconf.system.durations import format_duration

__all__ = ["ReadinessCheck", "await_ready", "get", "served_models"]

LONGEST_REPLY = 2**20


class ReadinessCheck(Masked, Struct, frozen=True, kw_only=True):
    """What to wait for: one of `names` in the list at `path`, for `timeout` seconds.

    With no `names`, any answer with status 200 will do. `find` returns the server's origin once it
    is known, `death` why the server ended, once it has. `key` is what the server itself was told to
    ask for.
    """

    names: tuple[str, ...]
    path: str
    timeout: float
    interval: float
    find: Callable[[], str | None]
    death: Callable[[], str | None]
    key: str = ""

    def __repr__(self) -> str:
        return f"Waiting(names={self.names!r}, path={self.path!r}, timeout={self.timeout!r})"


def served_models(url: str, path: str, timeout: float, key: str = "") -> tuple[str, ...] | None:
    """Return the names in the model list at `url` + `path`, or None while there is no list.

    A list is `{"data": [{"id": …}, …]}` with status 200; a server that still loads its model
    answers something else. No proxy is asked.
    """
    answer = get(url, path, timeout, key)
    return None if answer is None or answer[0] != 200 else _names(answer[1])


def get(url: str, path: str, timeout: float, key: str = "") -> tuple[int, bytes] | None:
    """Return the status and the beginning of the body of `url` + `path`; None without an answer."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
        reply = connection.getresponse()
        body = reply.read(LONGEST_REPLY)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return reply.status, body


def _names(body: bytes) -> tuple[str, ...] | None:
    try:
        listing = json.loads(body)
    except ValueError:
        return None
    entries = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(entries, list):
        return None
    return tuple(str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry)


def await_ready(waiting: ReadinessCheck) -> str:
    """Return the server's origin once it lists the model.

    Raises:
        LaunchError: it ended, lists other models only, or was not ready in time.
    """
    until = time.monotonic() + waiting.timeout
    while True:
        death = waiting.death()
        if death is not None:
            raise LaunchError(death)
        url = waiting.find()
        left = until - time.monotonic()
        if url is not None and left > 0 and _model_answers(waiting, url, min(left, 5.0)):
            return url
        if left <= 0:
            what = repr(waiting.names[0]) if waiting.names else f"{waiting.path} to answer 200"
            raise LaunchError(
                f"the server for {what} was not ready within {format_duration(waiting.timeout)};"
                " raise `ready.timeout` if it needs longer"
            )
        time.sleep(min(waiting.interval, left))


def _model_answers(waiting: ReadinessCheck, url: str, timeout: float) -> bool:
    if not waiting.names:
        answer = get(url, waiting.path, timeout, waiting.key)
        return answer is not None and answer[0] == 200
    models = served_models(url, waiting.path, timeout, waiting.key)
    if not models:
        return False
    if any(name in models for name in waiting.names):
        return True
    raise LaunchError(
        f"the server at {url} serves {', '.join(map(repr, models))}, not {waiting.names[0]!r}"
    )
