"""What of a record is not written: what stands at a path, and what a pattern finds in a text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lmconf.errors import UsageError
from lmconf.schema.user_patterns import OutOfTime, Stopwatch, UserPattern, why_no_pattern
from lmconf.secrets.masks import MASK

_SECONDS = 0.25
"""How much processor time the patterns may take for one record."""

__all__ = ["ENTRY", "Redaction", "why_not"]

ENTRY = r"^(/.+/|[^./]+(\.[^./]+)*)$"
"""What an entry of `redact` looks like."""


def why_not(entry: str) -> str | None:
    """Return why `entry` is no entry of `redact`; None if it is one."""
    if not re.fullmatch(ENTRY, entry):
        return f"`{entry}` is neither a path nor a pattern between slashes"
    if entry.startswith("/"):
        why = why_no_pattern(entry[1:-1])
        return None if why is None else f"`{entry}` {why}"
    return None


class Redaction:
    """Hides what the entries of `redact` say, `***` in its place.

    An entry is a path into the record (`request.messages.*.content`, where `*` stands for every
    item), or a regular expression between slashes, which is searched for in every text. What
    they have not searched within a quarter of a second of processor time is hidden whole.

    Raises:
        UsageError: an entry is neither.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        for entry in entries:
            why = why_not(entry)
            if why is not None:
                raise UsageError(why)
        self._paths = [entry.split(".") for entry in entries if not entry.startswith("/")]
        self._patterns = [UserPattern(entry[1:-1]) for entry in entries if entry.startswith("/")]

    def of(self, value: object) -> object:
        """Return `value`, plain data, without what is hidden."""
        for path in self._paths:
            value = _without(value, path)
        if not self._patterns:
            return value
        watch = Stopwatch(_SECONDS)
        if isinstance(value, Mapping):
            # The names of a record's parts are ours.
            return {key: self._redact(item, watch) for key, item in value.items()}
        return self._redact(value, watch)

    def _redact(self, value: object, watch: Stopwatch) -> object:
        try:
            if isinstance(value, str):
                for pattern in self._patterns:
                    value = pattern.replace(value, MASK, watch)
                return value
            if isinstance(value, Mapping):
                names = [self._redact(key, watch) for key in value]
                if value and watch.left <= 0:
                    return MASK
                items = [self._redact(item, watch) for item in value.values()]
                return dict(zip(names, items, strict=True))
        except OutOfTime:
            return MASK
        if isinstance(value, list):
            return [self._redact(item, watch) for item in value]
        return value


def _without(value: object, path: Sequence[str]) -> object:
    if not path:
        return MASK
    name, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        return {
            key: _without(item, rest) if name in ("*", key) else item for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            _without(item, rest) if name in ("*", str(index)) else item
            for index, item in enumerate(value)
        ]
    return value
