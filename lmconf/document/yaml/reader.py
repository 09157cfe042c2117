"""Reads YAML (and so JSON) text into nodes that know their place, or says all that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmconf.diagnostics.model import Diagnostic, Mark, Source
from lmconf.diagnostics.render import sort_diagnostics
from lmconf.document.nodes import Document, Map, Node, Scalar, Seq
from lmconf.document.yaml.builder import build
from lmconf.document.yaml.limits import LENGTH, Scan, scan
from lmconf.document.yaml.secret_spans import hidden_spans, with_repetitions
from lmconf.document.yaml.syntax_faults import MarkMaker, SyntaxFault
from lmconf.document.yaml.syntax_hints import missing_space
from lmconf.errors import ProfileError
from lmconf.secrets.masks import merge_spans
from lmconf.secrets.redaction import find_possible_secrets
from lmconf.secrets.secret_names import is_secret_name

if TYPE_CHECKING:
    from lmconf.secrets.masks import Span

__all__ = ["read_document", "read_value"]


def read_document(
    text: str | bytes, name: str, *, path: str | None = None, referrer: Mark | None = None
) -> Document:
    """Return the document that `text` spells: a mapping and where each part of it stands.

    Args:
        text: YAML or JSON; bytes must be UTF-8, with or without a byte order mark.
        name: what a person is shown as the text's place: a path as they would type it.
        path: the file that the text comes from, if any.
        referrer: the place whose `extends` brought this text in.

    Raises:
        ProfileError: the text is not well-formed, or its root is no mapping. All mistakes are
            told at once; a syntax error hides what comes after it.
    """
    source, outcome = _nodes(text, Source(name=name, path=path, reached=referrer), "")
    # The frames that an exception carries must not hold the text: it may hold secrets.
    del text
    if isinstance(outcome, list):
        raise ProfileError(sort_diagnostics(outcome))
    if isinstance(outcome, Map):
        return Document(outcome, source)
    mistakes = [_not_a_mapping(outcome, source)]
    del outcome
    raise ProfileError(mistakes)


def read_value(text: str | bytes, name: str, *, key: str = "") -> Node:
    """Return the node of any JSON or YAML value; an empty text is null.

    `key` is the name that the value is for, where one is known: under a secret's name nothing of
    the text is ever printed.

    Raises:
        ProfileError: the text is not well-formed.
    """
    source, outcome = _nodes(text, Source(name=name), key)
    del text
    if isinstance(outcome, list):
        raise ProfileError(sort_diagnostics(outcome))
    return Scalar(None, Mark(source, 1, 1, 1)) if outcome is None else outcome


def _nodes(
    text: str | bytes, source: Source, key: str
) -> tuple[Source, Node | list[Diagnostic] | None]:
    """Return the source and its root, None for an empty document, or what is wrong with it."""
    decoded, fault = _decode_text(text)
    result = scan(decoded) if fault is None else Scan([], [fault], whole=False)
    hidden = list(hidden_spans(result.events, key))
    if not result.whole:
        secret = bool(key) and is_secret_name(key)
        hidden += [(0, len(decoded))] if secret else find_possible_secrets(decoded[:LENGTH])
    source = _with_text(source, decoded, with_repetitions(decoded, hidden))
    places = MarkMaker(source)
    diagnostics = [places.diagnostic(fault) for fault in result.faults]
    if not result.whole:
        return source, diagnostics
    if not result.events:
        return source, diagnostics or None
    root, mistakes = build(result.events, places, json=result.json)
    return source, diagnostics + mistakes or root


def _with_text(source: Source, text: str, hidden: list[Span]) -> Source:
    return Source(
        name=source.name,
        text=text,
        hidden=tuple(merge_spans(hidden)),
        reached=source.reached,
        path=source.path,
    )


def _decode_text(text: str | bytes) -> tuple[str, SyntaxFault | None]:
    """Return `text` as characters without a byte order mark, and what is wrong with its bytes."""
    if isinstance(text, str):
        return str(text.removeprefix("\ufeff")), None
    if len(text) > LENGTH:
        message = f"the text is longer than {LENGTH:,} bytes"
        return "", SyntaxFault(code="too-large", message=message, start=0, end=0)
    if text.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in text[:4]:
        message = "the text is not UTF-8 but looks like UTF-16 or UTF-32"
        mend = "save the file as UTF-8"
        return "", SyntaxFault(code="encoding", message=message, start=0, end=0, help=mend)
    text = text.removeprefix(b"\xef\xbb\xbf")
    try:
        return text.decode("utf-8"), None
    except UnicodeDecodeError as error:
        at = len(text[: error.start].decode("utf-8"))
        fault = SyntaxFault(
            code="encoding",
            message=f"the byte 0x{text[error.start]:02x} is not valid UTF-8",
            start=at,
            end=at + 1,
            help="save the file as UTF-8",
        )
    return text.decode("utf-8", "replace"), fault


def _not_a_mapping(root: Node | None, source: Source) -> Diagnostic:
    example = "a document is a mapping, such as `model: openai/gpt-4o-mini`"
    if root is None or (isinstance(root, Scalar) and root.value is None and not root.quoted):
        return Diagnostic(
            code="empty-document",
            message="the document is empty",
            mark=Mark(source, 1, 1, 1) if root is None else root.mark,
            help=example,
        )
    if isinstance(root, Scalar) and not root.quoted:
        places = MarkMaker(source)
        fault = missing_space(source.text or "", places.offset(root.mark))
        if fault is not None:
            return places.diagnostic(fault)
    return Diagnostic(
        code="not-a-mapping",
        message=f"the document is {_kind(root)}, not a mapping",
        mark=root.mark,
        help=example,
    )


def _kind(node: Node) -> str:
    """Return what a person calls a node: "a list", "text", "a number"."""
    if isinstance(node, Seq):
        return "a list"
    if isinstance(node, Map):
        return "a mapping"
    value = node.value if isinstance(node, Scalar) else None
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    return "text" if isinstance(value, str) else "a number"
