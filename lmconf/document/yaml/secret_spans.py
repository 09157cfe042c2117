"""Finds the secrets of a parsed text: what stands under a secret's name.

The spans are known before anything of the text can be printed, so that no diagnostic shows them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from lmconf.secrets.masks import Span, merge_spans, occurrences
from lmconf.secrets.secret_names import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmconf.document.yaml.parser import ParseEvent

__all__ = ["hidden_spans", "with_repetitions"]

# Under these keys stands the name of a secret, or what its author declared to be none.
_SHOWN_WORDS = frozenset({"$env", "$file", "$given", "$public"})
_NAMING_WORDS = frozenset({"$env", "$given"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
# Names that are often given to secrets, and to other things: nothing is refused under them.
_LIKELY_NAMES = frozenset({"key", "pass", "pwd", "bearer"})
_NO_SECRETS = frozenset({"", "~", "null", "Null", "NULL", "true", "True", "false", "False"})

_LONG = 1000
SHORTEST = 8
MOST = 100
"""How many secrets are looked for again: a document that is all secrets need not be read twice."""


class _Level(Struct):
    """An open collection: whether its values are secret, and its key while a value is awaited.

    Below a word such as `$env` a text is shown, and anything else is as secret as the whole.
    `beside` holds the spans of what stands beside a name that may yet turn out to be a secret's.
    """

    secret: bool
    is_map: bool
    awaits_key: bool
    child_secret: bool
    began: int
    anchor: str | None
    awaits_name: bool = False
    key: str = ""
    beside: list[Span] = []


def hidden_spans(events: Sequence[ParseEvent], key: str = "") -> tuple[Span, ...]:
    """Return the spans of all values in `events` that stand under a secret's name.

    `key` is the name that the whole text stands under. Names of environment variables, paths of
    files and public values are no secrets; neither are `""`, null and booleans.
    """
    walk = _Walk(events)
    walk.over(0, len(events), bool(key) and is_secret_name(key))
    walk.follow_aliases()
    return tuple(merge_spans(walk.spans))


def with_repetitions(text: str, spans: Sequence[Span]) -> list[Span]:
    """Return `spans` and those of `text` where the same secrets stand again: in a comment, say.

    Words of less than `SHORTEST` letters are not looked for.
    """
    secrets = {text[start:end].strip("\"' \t\r\n") for start, end in spans}
    words = sorted((word for word in secrets if len(word) >= SHORTEST), key=len, reverse=True)
    words = words[:MOST]
    long = [word for word in words if len(word) > _LONG]
    short = [re.escape(word) for word in words if len(word) <= _LONG]
    # A pattern of a long text takes a hundred times as long to make as the text to look through.
    again = re.finditer("|".join(short), text) if short else ()
    repetitions = occurrences(text, long, overlapping=False)
    return [*spans, *repetitions, *(match.span() for match in again)]


class _Walk:
    """Goes through events once, and again through what a secret's alias leads to."""

    def __init__(self, events: Sequence[ParseEvent]) -> None:
        self.spans: list[Span] = []
        self._events = events
        self._names: dict[str, bool] = {}
        self._anchors: dict[str, Span] = {}
        self._aliases: list[str] = []

    def over(self, first: int, last: int, secret: bool) -> None:
        """Collect the secret scalars of the events from `first` to `last`."""
        top = _Level(secret, False, False, secret, first, None)
        levels = [top]
        for index in range(first, last):
            event = self._events[index]
            level = levels[-1]
            if event.kind == "end":
                if len(levels) > 1:
                    levels.pop()
                if level.anchor is not None:
                    self._anchors[level.anchor] = (level.began, index + 1)
                continue
            is_key = level.is_map and level.awaits_key
            if level.is_map:
                level.awaits_key = not is_key
            value_secret = level.child_secret if level.is_map else level.secret
            if event.kind == "scalar":
                self._scalar(event, index, level, is_key, value_secret)
            elif event.kind == "alias":
                if value_secret and not is_key:
                    self._aliases.append(event.anchor or "")
            else:
                # A collection as a key is a mistake; its parts are judged like values.
                inner = value_secret and not is_key
                if level.is_map and level.key in _SHOWN_WORDS:
                    inner = level.secret
                is_map = event.kind == "map"
                levels.append(_Level(inner, is_map, is_map, inner, index, event.anchor))

    def _scalar(
        self, event: ParseEvent, index: int, level: _Level, is_key: bool, secret: bool
    ) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = (index, index + 1)
        if is_key:
            level.child_secret = self._makes_secret(event.value, level.secret)
            level.awaits_name = level.secret and event.value in _NAMING_WORDS
            level.key = event.value
        elif level.awaits_name and not _NAME.match(event.value):
            # The secret itself was pasted where its name belongs.
            self.spans.append((event.start, event.end))
        elif secret and event.value not in _NO_SECRETS:
            self.spans.append((event.start, event.end))
        elif level.is_map:
            self._beside(event.value, (event.start, event.end), level)
        else:
            self._option(event.value, (event.start, event.end), level)

    def _beside(self, text: str, span: Span, level: _Level) -> None:
        """Hide the `default` and `format` of a reference to a secret's variable."""
        if level.key == "$env" and is_secret_name(text):
            level.secret = True
            self.spans += level.beside
        elif level.key in ("default", "format") and text not in _NO_SECRETS:
            level.beside.append(span)

    def _option(self, text: str, span: Span, level: _Level) -> None:
        """Hide the word after an option such as `--api-key` in a command."""
        if level.key.startswith("-") and is_secret_name(level.key.lstrip("-")):
            self.spans.append(span)
        level.key = text

    def _makes_secret(self, name: str, inherited: bool) -> bool:
        if name in _SHOWN_WORDS:
            return False
        if inherited:
            return True
        is_secret = self._names.get(name)
        if is_secret is None:
            is_secret = is_secret_name(name) or name.lower() in _LIKELY_NAMES
            self._names[name] = is_secret
        return is_secret

    def follow_aliases(self) -> None:
        """Hide also what the aliases under secret names lead to."""
        visited: set[str] = set()
        while self._aliases:
            name = self._aliases.pop()
            if name not in visited and name in self._anchors:
                visited.add(name)
                self.over(*self._anchors[name], secret=True)
