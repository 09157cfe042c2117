"""The dollar words of documents, and what is one mistyped.

Any other key that begins with a dollar sign (`$ref`, `$defs`) is data.
"""

from __future__ import annotations

from collections.abc import Collection

from lmconf.diagnostics.suggest import did_you_mean

__all__ = ["OPTIONS", "VERBATIM_HELP", "find_misspelt_word", "holds_word", "suggest_word"]

OPTIONS: dict[str, frozenset[str]] = {
    "$env": frozenset({"default", "type", "format"}),
    "$file": frozenset({"format"}),
    "$value": frozenset(),
    "$public": frozenset(),
    "$append": frozenset({"$prepend"}),
    "$prepend": frozenset({"$append"}),
    "$unset": frozenset(),
    "$given": frozenset(),
}
"""The dollar words, each with the keys that may stand beside it."""

# JSON Schema's own keys: data, however close they come to a word above.
_DATA_WORDS = frozenset(
    "$ref $schema $defs $id $anchor $comment $vocabulary $dynamicRef $dynamicAnchor".split()
)
VERBATIM_HELP = "to keep such a map as data, write {$value: …} around it"


def holds_word(keys: Collection[object]) -> bool:
    """Say whether a map with these `keys` would be taken for a dollar word, or for one mistyped."""
    names = [key for key in keys if isinstance(key, str)]
    return any(name in OPTIONS for name in names) or find_misspelt_word(names) is not None


def find_misspelt_word(keys: Collection[str]) -> tuple[str, str] | None:
    """Return the key and the word that was meant, where a map with `keys` is clearly an operator."""
    dollars = [key for key in keys if key.startswith("$")]
    if len(dollars) != 1 or dollars[0] in _DATA_WORDS:
        return None
    key = dollars[0]
    word = key.lower() if key.lower() in OPTIONS else did_you_mean(key, OPTIONS)
    if word is None or not _is_typo_of(key.lower(), word):
        return None
    others = set(keys) - {key}
    return (key, word) if others <= OPTIONS[word] else None


def suggest_word(key: str, word: str) -> str:
    """Return what to write in place of `key`, which stands for `word`."""
    first, _, rest = key.partition(" ")
    if first == word and rest.strip():
        return f"a colon is missing: write {{{word}: {rest.strip()}}}"
    return f"did you mean `{word}`? {VERBATIM_HELP}"


def _is_typo_of(key: str, word: str) -> bool:
    """Say whether `key` is `word` mistyped, and not merely a word like it (`$set`, `$unset`)."""
    return key[1:2] == word[1:2] or sorted(key) == sorted(word)
