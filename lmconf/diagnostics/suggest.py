"""Finds the word that was probably meant."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable

__all__ = ["did_you_mean"]

_LONGEST = 100  # letters of a word
_MOST = 500  # words that one is compared with


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `word` most probably stands for, or None.

    Case and the choice between `-`, `_` and ` ` count for nothing; after that one slip (a letter
    too many, too few, wrong, or two swapped) is allowed for every three letters. A beginning of
    exactly one known word (`temp`), or a part of exactly one (`tokens`), is a match, too. Among
    equals the first wins. Very long words, and what comes after very many, mean nothing.
    """
    if len(word) > _LONGEST:
        return None
    few = itertools.islice(known, _MOST)
    names = [name for name in few if name != word and len(name) <= _LONGEST]
    flat = _flat(word)
    if not flat:
        return None
    letters = Counter(flat)
    best: tuple[int, str] | None = None
    for name in names:
        other = _flat(name)
        # No more slips than with the best so far, which comes first.
        allowed = min(max(len(flat), len(other)) // 3, len(flat) if best is None else best[0] - 1)
        # Each letter that the other lacks is a slip: that is told without comparing places.
        if (letters - Counter(other)).total() > allowed:
            continue
        slips = _distance(flat, other, allowed)
        if slips is not None and (best is None or slips < best[0]):
            best = (slips, name)
    if best is not None:
        return best[1]
    return _only(flat, names)


def _flat(word: str) -> str:
    return word.casefold().replace("-", "_").replace(" ", "_").strip("_")


def _only(flat: str, names: list[str]) -> str | None:
    if len(flat) < 3:
        return None
    for fits in (
        [name for name in names if _flat(name).startswith(flat)],
        [name for name in names if flat in _flat(name).split("_")],
        [name for name in names if _flat(name) in flat.split("_") and len(_flat(name)) > 2],
    ):
        if len(fits) == 1:
            return fits[0]
    return None


def _distance(one: str, other: str, most: int) -> int | None:
    """Return the optimal string alignment distance of two words, or None if above `most`."""
    if abs(len(one) - len(other)) > most:
        return None
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, counterpart in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != counterpart))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == counterpart:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return None
    return row[-1] if row[-1] <= most else None
