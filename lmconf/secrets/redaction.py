"""Finds secrets in text by their looks, where no parsed document can say what stands where.

Two rules: the shapes of well-known keys, and a value that follows a word which is a secret's name
(`api_key: …`, `client_secret=…`). Spans are (start, end) character offsets.
"""

from __future__ import annotations

import json
import re
import string
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from lmconf.secrets.masks import Span, mask_spans, merge_spans, occurrences
from lmconf.secrets.secret_names import is_secret_name

__all__ = [
    "blank_spans",
    "find_key_shapes",
    "find_named_secrets",
    "find_possible_secrets",
    "known_spellings",
    "mask_key_shapes",
    "mask_secrets",
    "mask_texts",
    "unended_span",
]

# Each alternative is a documented key format; the inner groups narrow the span where the shape needs
# words around it that are worth reading. The letter before is matched, not looked back at: a search
# for one of a few letters passes over a long word, where nothing begins, ten times as fast.
_SHAPES = re.compile(
    r"""[^A-Za-z0-9](?P<whole>
          sk-[A-Za-z0-9_-]{8,}                          # OpenAI, Anthropic and their kin
        | [sr]k_(?:live|test)_[A-Za-z0-9]{8,}           # Stripe
        | (?:gsk|r8|hf|xai|pplx|nvapi|fw|tgp|csk|key)[_-][A-Za-z0-9_-]{20,}
        | gh[opsur]_[A-Za-z0-9]{16,}                    # GitHub
        | github_pat_[A-Za-z0-9_]{16,}
        | glpat-[A-Za-z0-9_-]{16,}                      # GitLab
        | xox[abeoprs]-[A-Za-z0-9-]{10,}                # Slack
        | A(?:KIA|SIA)[A-Z0-9]{12,}                     # AWS
        | AIza[A-Za-z0-9_-]{30,}                        # Google
        | ya29\.[A-Za-z0-9_-]{20,}
        | dapi[0-9a-f]{32}                              # Databricks
        | (?:[Bb]earer|[Bb]asic)\s+(?P<scheme>[A-Za-z0-9._~+/=-]{8,})
        | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----(?P<pem>[^-]+)
        )
    """,
    re.VERBOSE,
)
_USERINFO = re.compile(r"""://[^/\s:@'"]*:([^/\s@'"]+)@""")  # https://user:password@host
# Each run of letters is tried from its beginning alone: from every letter of a long one, the time
# would grow with the square of its length.
_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{11,}(?=\.[A-Za-z0-9_-]{8,}\.(?P<end>[A-Za-z0-9_-]*))"
)
_JWT_BEGINS = re.compile(r"(?<![A-Za-z0-9])eyJ")
_SEPARATOR = re.compile(r"[:=][ \t]*")
_NAME_LETTERS = f"{string.ascii_letters}{string.digits}_.-"
_LINE_END = re.compile(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")  # those of `splitlines`
# What follows a secret's name and is no secret: nothing, null, a boolean, an alias, a comment, the
# header of a block, or a structure (whose parts are judged by their own names).
_HARMLESS = re.compile(r"""(?:""|''|~|null|true|false)?[ \t]*(?:[,\])}#].*)?|[\[{|>*#&].*""")
_REFERENCE = re.compile(r"""\{[ \t]*["']?\$(?:env|file|given|public)\b""")


def find_key_shapes(text: str) -> list[Span]:
    """Return where `text` holds what has the shape of a well-known kind of key."""
    spans = [
        (start - 1, end - 1)
        for match in _SHAPES.finditer(f"\n{text}")
        for start, end in [match.span(_inner(match))]
    ]
    return [*spans, *(match.span(1) for match in _USERINFO.finditer(text)), *_tokens(text)]


def _inner(match: re.Match[str]) -> str:
    """Return the name of the narrowest group of `_SHAPES` that matched."""
    return next((name for name in ("scheme", "pem") if match[name]), "whole")


def _tokens(text: str) -> Iterator[Span]:
    """Yield where JSON Web Tokens stand: three parts, of which the first is JSON in Base64."""
    if "eyJ" not in text:
        return
    for match in _JWT.finditer(text):
        begins = _JWT_BEGINS.search(text, match.start(), match.end())
        if begins is not None and match.end() - begins.start() >= 11:
            yield begins.start(), match.end("end")


def find_named_secrets(text: str) -> list[Span]:
    """Return where a line of `text` holds a value after a secret's name and `:` or `=`.

    The span runs to the end of the line: where a value ends is not known without parsing.
    """
    return [
        span
        for start, line in _lines(text)
        for span in _find_named_in_line(start, line)
        if not _HARMLESS.fullmatch(text[span[0] : span[1]])
    ]


def unended_span(text: str, ends: Mapping[int, int]) -> Span | None:
    """Return the first of `find_named_secrets` in `text` whose end `ends`, by where it starts, lacks."""
    breaks: list[int] = []
    position = 0
    for name, begin, start in _names(text):
        if begin < position or not is_secret_name(name):
            continue
        breaks = breaks or [*(match.start() for match in _LINE_END.finditer(text)), len(text)]
        end = breaks[bisect_left(breaks, start)]
        if _HARMLESS.fullmatch(text, start, end):
            position = end
        elif start in ends:
            position = ends[start]
        else:
            return start, end
    return None


def find_possible_secrets(text: str) -> list[Span]:
    """Return what may be a secret in a `text` that could not be parsed, rather too much.

    Beyond `find_named_secrets`, structures after a secret's name are hidden, and the deeper lines below.
    """
    spans = find_key_shapes(text)
    deeper_than: int | None = None
    for start, line in _lines(text):
        depth = len(line) - len(line.lstrip(" \t-"))
        if not line.strip():
            continue
        if deeper_than is not None and depth > deeper_than:
            if not line.lstrip(" \t-\"'").startswith("$"):
                spans.append((start + depth, start + len(line)))
            continue
        deeper_than = None
        for first, last in _find_named_in_line(start, line):
            deeper_than = depth
            value = text[first:last]
            if first < last and not _REFERENCE.match(value) and value not in ('""', "''"):
                spans.append((first, last))
    return spans


def _lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for line in text.splitlines(keepends=True):
        yield start, line.rstrip()
        start += len(line)


def _find_named_in_line(start: int, line: str) -> Iterator[Span]:
    if ":" not in line and "=" not in line:
        return
    for name, _, value in _names(line):
        if is_secret_name(name):
            yield start + value, start + len(line)
            return


def _names(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each name before a `:` or `=`, where it starts, and where what follows starts.

    They are found from their ends: tried from its beginning, each long word would be read twice.
    """
    last = 0
    for match in _SEPARATOR.finditer(text):
        before = text[last : match.start()].rstrip(" \t")
        before = before[:-1] if before.endswith(('"', "'")) else before
        begin = len(before.rstrip(_NAME_LETTERS))
        if begin < len(before):
            yield before[begin:].lstrip("0123456789.-"), last + begin, match.end()
        last = match.end()


def blank_spans(text: str, hidden: Iterable[Span]) -> str:
    """Return `text`, as long as before, with `*` for each letter of what is or may be a secret.

    That is what `hidden` spans, what has the shape of a key, and what follows a secret's name.
    """
    letters = list(text)
    for start, end in merge_spans([*hidden, *find_key_shapes(text), *find_named_secrets(text)]):
        for index in range(start, min(end, len(letters))):
            if letters[index] not in "\r\n":
                letters[index] = "*"
    return "".join(letters)


def mask_key_shapes(text: str) -> str:
    """Return `text` with everything that has the shape of a key masked."""
    return mask_spans(text, find_key_shapes(text))


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with every one of `secrets`, and all that has the shape of a key, masked.

    Secrets are also known as JSON and URLs write them; those of less than four letters are words.
    """
    # All are found in the text as it is: where two overlap, hiding one would leave half of the
    # other.
    return mask_spans(text, [*occurrences(text, known_spellings(secrets)), *find_key_shapes(text)])


def mask_texts(value: Any, mask: Callable[[str], str]) -> Any:
    """Return plain data with each text in it masked by `mask`; names of entries stay as they are."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: mask_texts(item, mask) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_texts(item, mask) for item in value]
    return value


def known_spellings(secrets: Iterable[str]) -> set[str]:
    """Return each of `secrets` as it is, and as JSON and URLs write it.

    Those of less than four letters are words.
    """
    return {form for secret in secrets if len(secret) >= 4 for form in _spellings(secret)}


def _spellings(secret: str) -> set[str]:
    quoted = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    # What came from a variable may be no text in any encoding; its own bytes are in a URL then.
    raw = secret.encode("utf-8", "surrogateescape" if _is_bytes(secret) else "surrogatepass")
    in_urls = {quote(raw), quote(raw, safe=""), quote_plus(raw)}
    return {secret, *quoted, *(text.replace("/", "\\/") for text in quoted), *in_urls}


def _is_bytes(text: str) -> bool:
    """Say whether `text` holds bytes of no encoding, as variables and file names may."""
    return all(
        not "\ud800" <= letter <= "\udfff" or "\udc80" <= letter <= "\udcff" for letter in text
    )
