"""Regular expressions that users write, searched for in bounded time.

Python's own engine cannot be stopped, and some patterns keep it busy for years on a few dozen
letters. These are compiled by the package `regex`, whose engine stops when its time is over. What
`re` does not take is refused all the same, so that patterns mean what Python's documentation says.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lmconf.system.durations import format_duration

if TYPE_CHECKING:
    import regex

__all__ = ["OutOfTime", "Stopwatch", "UserPattern", "why_no_pattern"]

_LONGEST = 2000
_MOST_COPIES = 20_000
"""How many characters a pattern may stand for once its counts are written out."""

_PROBE = 2000
_PROBE_SECONDS = 0.25
"""The processor time in which a pattern must finish on so many letters: one whose time grows with
the square of a text's length needs a tenth of it."""

_COUNT = re.compile(r"\{(?:(\d{1,9})(?:,(\d{0,9}))?|,(\d{1,9}))\}")
_WORDS = re.compile(r"[^\W_]+")


class OutOfTime(Exception):
    """What was to be searched was not searched whole."""


class Stopwatch:
    """The processor time of this thread that searches may take together."""

    def __init__(self, seconds: float) -> None:
        self._end = time.thread_time() + seconds

    @property
    def left(self) -> float:
        """How many seconds are left; never more than were given."""
        return self._end - time.thread_time()


class UserPattern:
    """One pattern, ready to be searched for.

    Raises:
        ValueError: it is none (`why_no_pattern` says why).
    """

    def __init__(self, pattern: str) -> None:
        why = why_no_pattern(pattern)
        if why is not None:
            raise ValueError(why)
        self._pattern = _compile(pattern)

    def replace(self, text: str, by: str, watch: Stopwatch) -> str:
        """Return `text` with every match replaced by the plain text `by`.

        Raises:
            OutOfTime: `watch` ran out first.
        """
        left = watch.left
        if left > 0:
            try:
                found: str = self._pattern.sub(lambda _: by, text, timeout=left, concurrent=True)
                return found
            except TimeoutError:
                pass
        raise OutOfTime

    def found_in(self, text: str, watch: Stopwatch) -> bool:
        """Say whether `text` holds a match.

        Raises:
            OutOfTime: `watch` ran out first.
        """
        left = watch.left
        if left > 0:
            try:
                return self._pattern.search(text, timeout=left, concurrent=True) is not None
            except TimeoutError:
                pass
        raise OutOfTime


@functools.lru_cache(maxsize=256)
def why_no_pattern(pattern: str) -> str | None:
    """Return why `pattern` is none that may be searched for, None if it may.

    It is tried on texts that it is likely to need long for.
    """
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression: {error}"
    if len(pattern) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    why = _why_too_large(pattern)
    if why is not None:
        return why
    import regex

    try:
        compiled = _compile(pattern)
    except (regex.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression: {error}"
    late = next((probe for probe in _probes(pattern) if _is_late(compiled, probe)), None)
    if late is not None:
        return (
            f"takes too long: it did not finish on {len(late):,} letters within"
            f" {format_duration(_PROBE_SECONDS)}; repeat nothing that repeats itself, as in `(a+)+`"
        )
    return None


def _is_late(compiled: regex.Pattern[str], probe: str) -> bool:
    try:
        compiled.sub("", probe, timeout=_PROBE_SECONDS)
    except TimeoutError:
        return True
    return False


@functools.lru_cache(maxsize=256)
def _compile(pattern: str) -> regex.Pattern[str]:
    import regex  # it takes 150 ms, and few profiles have patterns

    return regex.compile(pattern)


def _probes(pattern: str) -> Iterator[str]:
    """Yield texts of many equal parts that `pattern` is about, each with an end it is not about."""
    letters = dict.fromkeys(letter for letter in pattern if letter.isprintable())
    parts = [*_WORDS.findall(pattern), *letters, "a", "0", " ", "_", "a ", "a0"]
    for part in list(dict.fromkeys(parts))[:48]:
        yield part * (_PROBE // len(part) + 1) + "\x01"


def _why_too_large(pattern: str) -> str | None:
    """Say why `pattern` would be too large where each part stands as often as its count demands."""
    sizes, last, at = [0], 0, 0
    before: list[int] = []
    while at < len(pattern):
        letter = pattern[at]
        count = _COUNT.match(pattern, at) if letter == "{" else None
        if letter == "\\":
            last, at = 1, at + 2
            sizes[-1] += 1
        elif letter == "[":
            last, at = 1, _end_of_set(pattern, at)
            sizes[-1] += 1
        elif letter == "(":
            before.append(last)
            sizes.append(0)
            at += 1
        elif letter == ")" and before:
            before.pop()
            last = sizes.pop()
            sizes[-1] += last
            at += 1
        elif count is not None:
            most = max((int(text) for text in count.groups() if text), default=0)
            sizes[-1] += last * max(most - 1, 0)
            last *= max(most, 1)
            at = count.end()
        elif letter == "{":
            return "holds a `{` that does not begin a count: write a literal brace as `\\{`"
        else:
            last = 0 if letter in "*+?|^$" else 1
            sizes[-1] += last
            at += 1
        if max(sizes) > _MOST_COPIES:
            return f"can match more than {_MOST_COPIES:,} letters by its counts"
    return None


def _end_of_set(pattern: str, at: int) -> int:
    """Return where the set of letters that begins at `at` ends."""
    at += 1
    if pattern[at : at + 1] == "^":
        at += 1
    first = at
    while at < len(pattern) and (pattern[at] != "]" or at == first):
        at += 2 if pattern[at] == "\\" else 1
    return at + 1
