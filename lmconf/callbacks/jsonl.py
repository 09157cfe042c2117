"""One JSON record a call, appended to a file that several processes may share."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from lmconf.callbacks.events import Attempt, End, Event, Failure, Fallback, LimitWait, Retry
from lmconf.callbacks.otel import CallRegistry
from lmconf.callbacks.record_redaction import Redaction
from lmconf.errors import CallError
from lmconf.secrets.redaction import mask_key_shapes

__all__ = ["JsonlCallback"]


class JsonlCallback:
    """Appends to `path`, made with mode 0600 (its folder with 0700) when the first call ends.

    A record is one line, written whole or not at all. At `max_size` bytes the file is renamed to
    `<path>.1`, an earlier one to `<path>.2`, and so on; `keep` of them are kept. Without
    `content`, prompts, answers and the texts of errors (which may quote them) are left out, and
    `redact` hides more (`lmconf.callbacks.record_redaction`).
    """

    def __init__(
        self,
        path: str | Path,
        *,
        content: bool = True,
        max_size: int = 64 * 2**20,
        keep: int = 1,
        redact: Sequence[str] = (),
    ) -> None:
        self._path = os.path.expanduser(path)  # noqa: PTH111 - never raises
        self._content = content
        self._max_size = max_size
        self._keep = keep
        self._redaction = Redaction(redact)
        self._heard: CallRegistry[dict[str, list[object]]] = CallRegistry()

    def on_attempt(self, event: Attempt) -> None:
        """Note where a request goes."""
        self._note(event, "origins", event.origin)

    def on_retry(self, event: Retry) -> None:
        """Note why a request is sent again."""
        self._note(event, "retries", _event_fields(event))

    def on_limit_wait(self, event: LimitWait) -> None:
        """Note what a call waited for."""
        self._note(event, "limit_waits", _event_fields(event))

    def on_fallback(self, event: Fallback) -> None:
        """Note which LM stands in for which."""
        self._note(event, "fallbacks", _event_fields(event))

    def _note(self, event: Event, name: str, what: object) -> None:
        heard = self._heard.get(event.call_id)
        if heard is None:
            heard = {}
            self._heard.keep(event.call_id, heard)
        heard.setdefault(name, []).append(what)

    def on_end(self, event: End) -> None:
        """Append the record of an answer."""
        record: dict[str, object] = {
            "event": "end",
            **_common(event),
            "cache_hit": event.cache_hit,
            "usage": event.usage,
            "cost": event.cost,
            "request_id": event.request_id,
            **(self._heard.take(event.call_id) or {}),
        }
        if self._content:
            record |= {"request": event.request, "response": event.response}
        self._append(record)

    def on_error(self, event: Failure) -> None:
        """Append the record of a failure."""
        error = _error_fields(event.error)
        record: dict[str, object] = {
            "event": "error",
            **_common(event),
            "error": error,
            **(self._heard.take(event.call_id) or {}),
        }
        if self._content:
            _mask_error(error)
            record["request"] = event.request
        else:
            _without_messages(error)  # they may quote the prompt
        self._append(record)

    def _append(self, record: dict[str, object]) -> None:
        said = self._redaction.of(_plain(record))
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        line = text.encode("utf-8", "backslashreplace") + b"\n"
        while not self._append_line(line):
            pass  # the file was rotated, here or by another process: the next one is opened

    def _append_line(self, line: bytes) -> bool:
        """Write `line`; say whether it was written, not kept from it by a rotation."""
        handle = self._open()
        try:
            _lock(handle)
            now = os.fstat(handle)
            if not stat.S_ISREG(now.st_mode):
                os.write(handle, line)
                return True
            if not self._is_in_place(now):
                return False
            if now.st_size and now.st_size + len(line) > self._max_size:
                self._rotate()
                return False
            if os.write(handle, line) < len(line):
                os.ftruncate(handle, now.st_size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return True
        finally:
            os.close(handle)

    def _rotate(self) -> None:
        """Make room, under the lock on the file in place: whoever else waits for it looks anew."""
        for number in range(self._keep - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}.{number}").replace(f"{self._path}.{number + 1}")
        Path(self._path).replace(f"{self._path}.1")

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            Path(self._path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o600)

    def _is_in_place(self, opened: os.stat_result) -> bool:
        try:
            return os.path.samestat(opened, Path(self._path).stat())
        except FileNotFoundError:
            return False


def _error_fields(error: BaseException) -> dict[str, object]:
    if isinstance(error, CallError):
        return error.to_dict()
    return {"type": type(error).__name__, "message": str(error)}


def _mask_error(error: dict[str, object]) -> None:
    for each in _error_chain(error):
        each["message"] = mask_key_shapes(str(each["message"]))


def _without_messages(error: dict[str, object]) -> None:
    for each in _error_chain(error):
        del each["message"]


def _error_chain(error: dict[str, object]) -> list[dict[str, object]]:
    """Return what is told of an error, and of the fallbacks that failed after it."""
    others = error.get("fallbacks")
    return [error, *(others if isinstance(others, list) else ())]


def _common(event: End | Failure) -> dict[str, object]:
    when = datetime.fromtimestamp(event.time, timezone.utc)
    return {
        "time": when.isoformat(timespec="milliseconds"),
        "call_id": event.call_id,
        "lm": event.lm,
        "model": event.model,
        "duration": round(event.duration, 6),
        "first_token": None if event.first_token is None else round(event.first_token, 6),
        "attempts": event.attempts,
        "waited": round(event.waited, 6),
    }


def _event_fields(event: Retry | LimitWait | Fallback) -> dict[str, object]:
    """Return what `event` says beside what all events say."""
    common = Event.__struct_fields__
    return {name: getattr(event, name) for name in event.__struct_fields__ if name not in common}


def _lock(handle: int) -> None:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        # Some file systems have no locks; a line that is appended in one write is whole anyway.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
            raise


def _plain(value: object) -> object:
    """Return `value` as JSON says it: what JSON cannot say becomes the name of its type."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return f"<{type(value).__name__}>"
