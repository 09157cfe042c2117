"""Masks in the place of secrets whose places or texts are known, also in a text that comes in pieces.

It needs the standard library alone: the supervisor of servers and trainings runs it apart from
everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import AnyStr

__all__ = [
    "LEAST",
    "MASK",
    "Redactor",
    "Span",
    "last_of",
    "mask_spans",
    "merge_spans",
    "occurrences",
]

MASK = "***"
"""What is shown in the place of a secret."""

LEAST = 8
"""From how many bytes on the beginning of a secret is hidden where a program ended within it."""


Span = tuple[int, int]
"""Where something stands in a text: from one offset up to another."""

_MASK = MASK.encode()


def occurrences(
    text: AnyStr, secrets: Iterable[AnyStr], *, overlapping: bool = True
) -> Iterator[Span]:
    """Yield where one of `secrets` stands in `text`.

    Places of one secret that overlap are yielded, too, unless `overlapping` is false; the time
    grows then with the length of `text` alone, for each secret.
    """
    for secret in secrets:
        start = text.find(secret)
        while start >= 0:
            yield start, start + len(secret)
            start = text.find(secret, start + (1 if overlapping else len(secret)))


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Return `spans` sorted, with those that touch or overlap made one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def mask_spans(text: str, spans: Iterable[Span]) -> str:
    """Return `text` with a mask in the place of each of `spans`, one for those that touch."""
    parts = []
    last = 0
    for start, end in merge_spans(spans):
        parts += [text[last:start], MASK]
        last = end
    return "".join([*parts, text[last:]])


def last_of(text: bytes, size: int) -> bytes:
    """Return the last `size` bytes of `text` at most, from the beginning of a word on.

    The half of a word may be the half of a secret, which nobody would know any more.
    """
    at = len(text) - size
    if at <= 0 or size <= 0:
        return text[: max(size, 0)]
    cut = text[at:]
    if cut[:1].isspace() or text[at - 1 : at].isspace():
        return cut
    return cut[len(cut.split(None, 1)[0]) :] or _MASK[:size]


class Redactor:
    """Passes text on with `***` for each of `secrets`.

    What it returns in all does not depend on how the text was cut into pieces. It holds back
    what may be the beginning of a secret, which is less than the longest one.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._secrets = tuple({secret for secret in secrets if secret})
        self._rest = b""
        # How much of the rest belongs to a secret whose mask was returned already.
        self._hidden = 0

    def __call__(self, said: bytes) -> bytes:
        """Return what is known to be no part of a secret; the rest waits for what follows."""
        text = self._rest + said
        return self._until(text, self._begun(text))

    def end(self) -> bytes:
        """Return what still waited: it is no whole secret, and hidden where it is much of one."""
        rest = self._rest
        if len(rest) < LEAST or self._hidden == len(rest):
            return self._until(rest, len(rest))
        shown = b"" if self._hidden else _MASK
        self._rest, self._hidden = b"", 0
        return shown

    def _begun(self, text: bytes) -> int:
        """Return from where on `text` may be the beginning of a secret."""
        begun = len(text)
        for secret in self._secrets:
            start = text.find(secret[:1], max(len(text) - len(secret) + 1, 0), begun)
            while start >= 0:
                if secret.startswith(text[start:]):
                    begun = start
                    break
                start = text.find(secret[:1], start + 1, begun)
        return begun

    def _until(self, text: bytes, end: int) -> bytes:
        """Return `text` up to `end`, without secrets, and keep the rest of it."""
        shown, at = [], self._hidden
        for first, last in sorted(occurrences(text, self._secrets)):
            if first >= end:
                break
            # A secret that overlaps the one before has the mask of that one.
            if first >= at:
                shown += [text[at:first], _MASK]
            at = max(at, last)
        shown.append(text[at:end])
        self._rest, self._hidden = text[end:], max(at - end, 0)
        return b"".join(shown)
