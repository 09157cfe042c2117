"""Finds the word that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `word` most probably stands for, or None.

    Case and the choice between `-`, `_` and ` ` count for nothing; after that one slip (a letter
    too many, too few, wrong, or two swapped) is allowed for every three letters. A beginning of
    exactly one known word (`temp`), or a part of exactly one (`tokens`), is a match, too. Among
    equals the first wins.
    """
    names = [name for name in known if name != word]
    flat = _flat(word)
    if not flat:
        return None
    best: tuple[int, str] | None = None
    for name in names:
        other = _flat(name)
        allowed = max(len(flat), len(other)) // 3
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
