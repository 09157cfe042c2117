"""From one file to all the documents that it extends, in the order in which they are folded."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from lmconf.diagnostics.model import Diagnostic, Mark, Note, Source
from lmconf.document.linearisation import Cycle, linearise
from lmconf.document.nodes import Document, Map, Scalar, Seq, from_plain
from lmconf.document.yaml.reader import read_document
from lmconf.errors import ProfileError, UsageError
from lmconf.loader.discovery import find_parent, is_path, resolve_links
from lmconf.system.paths import with_home

__all__ = ["gather_documents", "gather_mapping", "read_file"]


def gather_documents(
    path: Path, *, within: Path | None = None, referrer: Mark | None = None
) -> list[Document]:
    """Return the document in `path` and those that it extends, the lowest layer first.

    With `within`, parents outside that folder are refused. `referrer` is the place that named the
    document, if another one did.

    Raises:
        ProfileError: a file cannot be read, a parent is unknown, or documents extend each other
            in a circle.
    """
    gathering = _DocumentGraph(within)
    return gathering.order(gathering.take(path, referrer))


def gather_mapping(
    content: Mapping[str, object], name: str, *, within: Path | None = None
) -> list[Document]:
    """Return the document that a mapping made in code is, and those that it extends.

    With `within`, parents outside that folder are refused.

    Raises:
        ProfileError: as `gather_documents`.
        UsageError: the mapping holds what no document can.
    """
    source = Source(name)
    try:
        root = from_plain(content, Mark(source))
    except TypeError as error:
        raise UsageError(f"{name}: {error}") from None
    assert isinstance(root, Map)
    gathering = _DocumentGraph(within)
    key = f"{name}\0"
    gathering.add(key, Document(root, source), None)
    return gathering.order(key)


def read_file(path: Path, *, referrer: Mark | None = None) -> Document:
    """Return the document in `path`; its name is the path as a person would type it.

    Raises:
        ProfileError: the file cannot be read, or is no mapping in YAML.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ProfileError(
            [
                Diagnostic(
                    code="unreadable",
                    message=f"{path} cannot be read: {reason}",
                    mark=referrer,
                    help="check the path and its permissions",
                )
            ]
        ) from None
    return read_document(content, relative_path(path), path=str(path.resolve()), referrer=referrer)


def relative_path(path: Path) -> str:
    """Return `path` relative to the working folder where it lies below it."""
    whole, here = path.resolve(), Path.cwd()
    return os.path.relpath(whole, here) if whole.is_relative_to(here) else str(whole)


class _DocumentGraph:
    """The documents read so far, by file, and the parents that each names."""

    def __init__(self, within: Path | None) -> None:
        self.within = within.resolve() if within is not None else None
        self.documents: dict[str, Document] = {}
        self.parents: dict[str, list[tuple[str, Mark]]] = {}
        self.diagnostics: list[Diagnostic] = []

    def take(self, path: Path, referrer: Mark | None) -> str:
        """Read the file and everything it extends; return the key of its document."""
        key = str(path.resolve())
        if key not in self.documents:
            self.add(key, read_file(path, referrer=referrer), path)
        return key

    def add(self, key: str, document: Document, path: Path | None) -> None:
        self.documents[key] = document
        self.parents[key] = []
        for name, mark in _parent_names(document.root, self.diagnostics):
            parent = self.take_parent(name, mark, path)
            if parent is not None:
                self.parents[key].append((parent, mark))

    def take_parent(self, name: str, mark: Mark, child: Path | None) -> str | None:
        """Read the parent that `child` names at `mark`, or report why it cannot be."""
        try:
            if is_path(name):
                # Before it is looked for: whether it exists is not to be learnt either.
                start = child.resolve().parent if child else Path.cwd()
                self.refuse_outside(start / with_home(name), name, mark)
            parent = find_parent(name, child.resolve() if child else None, mark)
            self.refuse_outside(parent, name, mark)
            return self.take(parent, mark)
        except ProfileError as error:
            self.diagnostics += error.diagnostics
            return None

    def refuse_outside(self, parent: Path, name: str, mark: Mark) -> None:
        if self.within is not None and not resolve_links(parent).is_relative_to(self.within):
            raise ProfileError(
                [
                    Diagnostic(
                        code="untrusted",
                        message=f"an untrusted document may not extend `{name}`, which lies outside"
                        " its own folder",
                        mark=mark,
                        path=("extends",),
                        help="load it without `untrusted=True` if you trust who wrote it",
                    )
                ]
            )

    def order(self, key: str) -> list[Document]:
        if self.diagnostics:
            raise ProfileError(self.diagnostics)
        try:
            keys = self.linearise(key)
        except Cycle as cycle:
            raise ProfileError([self.cyclic(cycle.chain)]) from None
        places = {each: place for place, each in enumerate(keys)}
        return [
            replace(
                self.documents[each],
                beneath=tuple(sorted(places[low] for low in self.linearise(each)[:-1])),
            )
            for each in keys
        ]

    def linearise(self, key: str) -> list[str]:
        return linearise(key, lambda child: [parent for parent, _ in self.parents[child]])

    def cyclic(self, chain: Sequence[str]) -> Diagnostic:
        names = [self.documents[key].source.name for key in chain]
        alone = len(chain) == 2
        links = list(itertools.pairwise(chain))
        marks = [dict(self.parents[child])[parent] for child, parent in links]
        return Diagnostic(
            code="extends-cycle",
            message=f"{names[0]} extends itself"
            if alone
            else f"documents extend each other in a cycle: {' -> '.join(names)}",
            mark=marks[0],
            path=("extends",),
            help="remove this `extends`" if alone else "remove one of these `extends`",
            notes=tuple(Note("and here", mark) for mark in marks[1:]),
        )


def _parent_names(root: Map, diagnostics: list[Diagnostic]) -> list[tuple[str, Mark]]:
    """Return the names under `extends` with their places."""
    extends = root.get("extends")
    if extends is None:
        return []
    names = []
    for item in extends.items if isinstance(extends, Seq) else (extends,):
        if isinstance(item, Scalar) and isinstance(item.value, str) and item.value:
            names.append((item.value, item.mark))
        else:
            diagnostics.append(
                Diagnostic(
                    code="wrong-type",
                    message="`extends` must be a profile's name or a ./path, or a list of them",
                    mark=item.mark,
                    path=("extends",),
                )
            )
    return names
