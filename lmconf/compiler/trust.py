"""What a document that is not trusted may state: fields that are declared as `untrusted`, no others.

A field is declared so where it can neither move a credential, a bill or data elsewhere, nor read
or write on this machine, nor change how others are served, nor hang the process. Everything else
is refused, never taken out: a document that lost a part would mean something else. It is judged
twice: as it is written, where everything wrong is found at its place, and as it is once composed
and rendered, which no way of writing gets around.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from lmconf.compiler.pipeline import CompiledProfile
from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.diagnostics.render import sort_diagnostics
from lmconf.document.nodes import (
    Change,
    Document,
    Map,
    Node,
    Path,
    Public,
    Reference,
    Scalar,
    Seq,
    Verbatim,
    from_plain,
    to_plain,
)
from lmconf.providers.catalogue import provider_of
from lmconf.providers.routes import MODEL_PARAMETERS
from lmconf.schema import Json, Record, Shape
from lmconf.schema.declaration import fields
from lmconf.secrets.references import Env
from lmconf.spec.profile import LMDocument, ProfileDocument

__all__ = ["allows", "allows_block", "check_documents", "check_profile"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:@+-]*(/[A-Za-z0-9_][A-Za-z0-9._:@+-]*)*\Z")
_OF_AWS = ("bedrock", "sagemaker")

Found = tuple[Path, Mark, str]


def allows(type_: type[Struct], name: str) -> bool:
    """Say whether an untrusted document may state the field `name` of a block of `type_`."""
    return bool(fields(type_)[name].untrusted)


@functools.cache
def allows_block(type_: type[Struct]) -> bool:
    """Say whether an untrusted document may state any field of a block of `type_`."""
    return any(allows(type_, name) for name in fields(type_))


def check_documents(documents: Sequence[Document], allow_env: frozenset[str]) -> list[Diagnostic]:
    """Return a diagnostic for everything in untrusted documents that needs trust, as it is written.

    Args:
        documents: what was read, with its operators recognised.
        allow_env: the environment variables that may be referred to.
    """
    diagnostics = []
    for document in documents:
        diagnostics += [_refusal(*each) for each in _Judge(allow_env).root(document.root)]
    return diagnostics


def check_profile(
    profile: CompiledProfile, documents: Sequence[Document], allow_env: frozenset[str]
) -> list[Diagnostic]:
    """Return a diagnostic for everything in a compiled profile that needs trust.

    Args:
        profile: what `documents` were compiled to. What the application laid over them, and what
            follows from a model, is no demand of theirs.
        documents: the untrusted documents.
        allow_env: the environment variables that may be referred to.
    """
    sources = frozenset(id(document.source) for document in documents)
    judge = _Judge(allow_env, sources)
    nodes = profile.nodes
    if profile.flat:
        (lm,) = _entries(nodes.get("lms")).values()
        diagnostics = [_refusal(*each) for each in judge.node(lm, Record(LMDocument), ())]
    else:
        diagnostics = [_refusal(*each) for each in judge.root(nodes)]
    # What several LMs inherit stands at one place.
    return sort_diagnostics(diagnostics)


def _refusal(path: Path, mark: Mark, what: str) -> Diagnostic:
    return Diagnostic(
        code="untrusted",
        message=f"an untrusted document may not {what}",
        mark=mark,
        path=path,
        help="state it in `overrides=`, or load it without `untrusted=True` if you trust who wrote"
        " it",
    )


class _Judge:
    """Looks through nodes for what is not on the list.

    `sources` are those of the untrusted documents where nodes are composed and rendered: values
    can then be judged, too, and what comes from elsewhere is the application's own.
    """

    def __init__(self, allow_env: frozenset[str], sources: frozenset[int] | None = None) -> None:
        self._allow_env = allow_env
        self._sources = sources

    def root(self, root: Map) -> Iterator[Found]:
        """Yield what a whole document, of one LM or of several, may not state."""
        for key, value in root.entries.items():
            several = key not in fields(LMDocument) or (key == "callbacks" and _by_name(value))
            type_ = ProfileDocument if several else LMDocument
            yield from self._field(root, key, value, type_, ())

    def node(self, node: Node, shape: Shape | None, path: Path) -> Iterator[Found]:
        """Yield what `node`, which is to have `shape`, may not state."""
        if shape is not None and shape.form == "array" and isinstance(node, Map):
            shape = shape.short_form or shape
        match node:
            case Map(entries=entries):
                yield from self._map(node, entries, shape, path)
            case Seq(items=items):
                inner = None if shape is None else shape.child([], 0)
                for index, item in enumerate(items):
                    yield from self.node(item, inner, (*path, index))
            case Change(base=base, prepend=prepend, append=append):
                if base is not None:
                    yield from self.node(base, shape, path)
                inner = None if shape is None else shape.child([], 0)
                for item in (*prepend, *append):
                    yield from self.node(item, inner, path)
            case Verbatim(value=value, mark=mark) if isinstance(value, dict | list):
                # Nothing in it is a reference, and all else means what it says.
                yield from self.node(from_plain(value, mark), shape, path)
            case Reference(to=to, mark=mark) if self._is_theirs(mark):
                if not isinstance(to, Env):
                    yield path, mark, "read files or values given in code"
                elif to.name not in self._allow_env:
                    yield path, mark, f"read the environment variable {to.name}"

    def _map(
        self, node: Map, entries: Mapping[str, Node], shape: Shape | None, path: Path
    ) -> Iterator[Found]:
        tags = {
            key: value.value
            for key, value in entries.items()
            if isinstance(value, Scalar | Verbatim)
        }
        chosen = None if shape is None else shape.choose(tags)
        type_ = None if chosen is None else chosen.type_of(tags)
        if type_ is not None and not allows_block(type_) and self._has_theirs(node):
            risk = getattr(type_, "__risk__", "") or f"state a block of `{type_.__name__}`"
            yield path, node.mark, risk
            return
        for key, value in entries.items():
            if type_ is not None:
                yield from self._field(node, key, value, type_, path)
            else:
                inner = None if chosen is None else chosen.child(tags, key)
                yield from self.node(value, inner, (*path, key))

    def _field(
        self, node: Map, key: str, value: Node, type_: type[Struct], path: Path
    ) -> Iterator[Found]:
        declared = fields(type_).get(key)
        here, mark = (*path, key), node.keys.get(key, value.mark)
        if declared is None:
            # No field: parked for use elsewhere, or a mistake that is told when it is compiled.
            yield from self.node(value, None, here)
        elif not allows(type_, key):
            if self._has_theirs(value):
                yield here, mark, declared.risk or f"state `{key}`"
        else:
            value = _open_verbatim(value)
            yield from self.node(value, declared.shape, here)
            if key in ("extra", "tools") and isinstance(declared.shape, Json) is (key == "extra"):
                yield from self._body(key, value, here)
            if declared.shape.is_secret and not _is_reference(value):
                yield here, value.mark, "bring a credential of its own"
            if self._sources is not None and id(value.mark.source) in self._sources:
                yield from self._value(key, value, type_, here)

    def _body(self, key: str, value: Node, path: Path) -> Iterator[Found]:
        """Yield what of a request's body would do more than say how the model answers."""
        if key == "extra":
            for name, item in _entries(value).items():
                if name not in MODEL_PARAMETERS and self._has_theirs(item):
                    mark = value.keys.get(name, item.mark) if isinstance(value, Map) else item.mark
                    yield (*path, name), mark, f"put `{name}` into the body of a request"
            return
        for index, tool in enumerate(_items(value)):
            kind = _entries(tool).get("type")
            if (
                kind is not None
                and to_plain(_open_verbatim(kind)) != "function"
                and self._has_theirs(kind)
            ):
                yield (*path, index), kind.mark, "name tools that servers run"

    def _value(self, key: str, node: Node, type_: type[Struct], path: Path) -> Iterator[Found]:
        """Yield what is wrong with a value on the list: an address in a name, or a large number."""
        stated = to_plain(node)
        if key == "model" and isinstance(stated, str):
            provider, name = provider_of(stated)
            aws = provider.startswith(_OF_AWS)
            if not _NAME.match(name) or (aws and ("/" in name or name.startswith("arn:"))):
                yield path, node.mark, "name more than a model, such as a path, an address or text"
        elif (declared := fields(type_)[key]).untrusted == "lower":
            most = declared.default
            assert isinstance(most, int | float)
            if declared.shape.build(stated) > most:
                yield path, node.mark, f"raise `{key}` above its default"

    def _is_theirs(self, mark: Mark) -> bool:
        return self._sources is None or id(mark.source) in self._sources

    def _has_theirs(self, node: Node) -> bool:
        """Say whether anything in `node` comes from an untrusted document."""
        if self._is_theirs(node.mark):
            return True
        below = [*_entries(node).values(), *_items(node)]
        return any(self._has_theirs(item) for item in below)


def _by_name(value: Node) -> bool:
    """Say whether `callbacks` holds them by name, as a document of several LMs does."""
    entries = _entries(value)
    return bool(entries) and "use" not in entries


def _open_verbatim(node: Node) -> Node:
    """Return the nodes of what is stated verbatim."""
    return from_plain(node.value, node.mark) if isinstance(node, Verbatim) else node


def _is_reference(node: Node) -> bool:
    """Say whether a secret field holds a reference, or says that nothing is sent."""
    if isinstance(node, Public):
        return False
    return not isinstance(node, Scalar) or node.value in ("", None)


def _entries(node: Node | None) -> Mapping[str, Node]:
    node = None if node is None else _open_verbatim(node)
    return node.entries if isinstance(node, Map) else {}


def _items(node: Node) -> Sequence[Node]:
    match _open_verbatim(node):
        case Seq(items=items):
            return items
        case Change(base=base, prepend=prepend, append=append):
            return (*(_items(base) if base is not None else ()), *prepend, *append)
        case _:
            return ()
