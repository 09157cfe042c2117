"""Builds nodes from YAML events; tells every mistake that the parser let pass."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from lmconf.diagnostics.model import Diagnostic, Mark, Note
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.nodes import Broken, Map, Node, Path, Scalar, Seq
from lmconf.document.yaml.scalars import InvalidNumber, resolve
from lmconf.document.yaml.syntax_hints import GLUED, find_unquoted_template, missing_space, tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmconf.document.yaml.parser import ParseEvent
    from lmconf.document.yaml.syntax_faults import MarkMaker, SyntaxFault

__all__ = ["build"]

_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+(?=\S)")
_LONGEST_SHOWN = 60


def build(
    events: Sequence[ParseEvent], places: MarkMaker, *, json: bool = False
) -> tuple[Node, list[Diagnostic]]:
    """Return the root of one document's events, and what is wrong with it.

    Where something is wrong the tree holds `Broken` nodes, or lacks the key. The events must have
    passed `guard.scan`: only then is their depth bounded; `json` is what it said.
    """
    builder = _Builder(_with_json_strings(events, places) if json else events, places)
    root = builder.node((), None)
    return root, builder.diagnostics


def _with_json_strings(events: Sequence[ParseEvent], places: MarkMaker) -> Sequence[ParseEvent]:
    """Return `events` with the values of strings as JSON spells them in the text."""
    from json import loads

    text = places.source.text or ""
    return [
        replace(event, value=loads(text[event.start : event.end])) if event.style == '"' else event
        for event in events
    ]


class _Key(Struct, frozen=True):
    """A key as it was read: `name` is None where it was refused, with a diagnostic."""

    name: str | None
    mark: Mark
    merges: bool = False


class _Builder:
    def __init__(self, events: Sequence[ParseEvent], places: MarkMaker) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._events: Iterator[ParseEvent] = iter(events)
        self._places = places
        self._mark = places.mark
        self._text = places.source.text or ""
        self._anchors: dict[str, Node] = {}
        self._open: dict[str, Mark] = {}

    # --- values

    def node(self, path: Path, event: ParseEvent | None) -> Node:
        """Return the node that begins with `event`, or with the next one if None."""
        event = event or next(self._events)
        if event.kind == "scalar" and event.tag is None and event.anchor is None:
            return self._scalar(event, path)
        if event.kind == "alias":
            return self._alias(event, path)
        if event.anchor is not None:
            self._begin_anchor(event, event.anchor, path)
        if event.tag is not None:
            self._say_fault(tag(self._text, event), path)
        node: Node
        if event.kind == "scalar":
            node = self._scalar(event, path)
        elif event.kind == "list":
            node = self._seq(event, path)
        else:
            node = self._map(event, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _scalar(self, event: ParseEvent, path: Path) -> Node:
        mark = self._mark(self._start(event), event.end)
        if event.tag is not None:
            return Broken(mark)
        if event.style:
            return self._text_of(event, mark, path)
        try:
            return Scalar(resolve(event.value), mark)
        except InvalidNumber as error:
            self._say(error.code, error.message, mark, path, help=error.help)
            return Broken(mark)

    def _text_of(self, event: ParseEvent, mark: Mark, path: Path) -> Scalar | Broken:
        """Return a quoted text, the two halves of a surrogate pair made one character."""
        value = event.value
        # Compiled on first use: the class is large, and most texts are ASCII.
        if not value.isascii() and re.search("[\ud800-\udfff]", value):
            try:
                value = value.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                message = "an escape in this text is half of a surrogate pair"
                self._say("encoding", message, mark, path, help="write the character itself")
                return Broken(mark)
        return Scalar(value, mark, True)

    def _seq(self, event: ParseEvent, path: Path) -> Seq:
        items: list[Node] = []
        while (child := next(self._events)).kind != "end":
            items.append(self.node((*path, len(items)), child))
        return Seq(tuple(items), self._around(event, child, items[0].mark if items else None))

    def _map(self, event: ParseEvent, path: Path) -> Node:
        entries: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        merging: tuple[Mark, Node] | None = None
        first: Mark | None = None
        broken = False
        while (child := next(self._events)).kind != "end":
            if self._is_template(event, child):
                broken = True
                self._say_fault(find_unquoted_template(self._text, event.start), path)
                self._skip(child)
                self._skip(next(self._events))
                continue
            key = self._key(child, path)
            value = self._value(key, child, path)
            first = first or _wider(key.mark, value.mark)
            if key.name is None:
                continue
            if key.name in keys or (key.merges and merging):
                at = merging[0] if key.merges and merging else keys[key.name]
                self._say_duplicate(key, at, path)
            elif key.merges:
                merging = (key.mark, value)
            else:
                entries[key.name] = value
                keys[key.name] = key.mark
        mark = self._around(event, child, first)
        if merging is not None:
            entries, keys = self._apply_merge_keys(merging, entries, keys, path)
        return Broken(mark) if broken else Map(entries, keys, mark)

    def _value(self, key: _Key, key_event: ParseEvent, path: Path) -> Node:
        event = next(self._events)
        below = path if key.name is None else (*path, key.name)
        if event.kind == "scalar" and not event.style and key_event.kind == "scalar":
            fault = self._find_glued_key(key_event, event)
            if fault is not None:
                self._say_fault(fault, below if event.value else path)
                return Broken(self._mark(event.start, event.end))
        return self.node(below, event)

    def _find_glued_key(self, key: ParseEvent, value: ParseEvent) -> SyntaxFault | None:
        """Return the fault of `key:value` without a space, where YAML reads it as text."""
        if not value.value:
            # In flow style, `{model:openai/x}` is a key alone.
            if value.start == key.end and not key.style:
                return missing_space(self._text, key.start)
            return None
        _, newline, margin = self._text[key.end : value.start].rpartition("\n")
        if not newline or margin.strip() or value.anchor or value.tag:
            return None
        if not all(GLUED.match(word) for word in value.value.split(" ")):
            return None
        return missing_space(self._text, value.start)

    # --- keys

    def _key(self, event: ParseEvent, path: Path) -> _Key:
        if event.kind != "scalar" or event.tag is not None or event.anchor is not None:
            return self._odd_key(event, path)
        name = event.value
        mark = self._mark(event.start, event.end)
        if event.style:
            text = self._text_of(event, mark, path)
            return _Key(None if isinstance(text, Broken) else str(text.value), mark)
        if name == "<<":
            return _Key(name, mark, True)
        try:
            value = resolve(name)
        except InvalidNumber:
            value = 0
        if isinstance(value, str):
            return _Key(value, mark)
        if not name:
            self._say("non-string-key", "a key is missing before `:`", mark, path)
            return _Key(None, mark)
        kind = {bool: "a boolean", type(None): "null"}.get(type(value), "a number")
        self._say(
            "non-string-key",
            f"the key `{_show_value(name)}` is {kind}, and keys must be text",
            mark,
            path,
            label=f"{kind}, not text",
            help=f'quote it: "{_show_value(name)}"',
        )
        return _Key(None, mark)

    def _odd_key(self, event: ParseEvent, path: Path) -> _Key:
        """Return a key that is an alias or a collection, or that has an anchor or a tag."""
        before = len(self.diagnostics)
        node = self.node(path, event)
        mark = node.mark
        if event.kind == "alias":
            mark = self._mark(event.start, event.end)
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return _Key(node.value, mark)
        if not isinstance(node, Broken) and len(self.diagnostics) == before:
            kind = {Seq: "a list", Map: "a mapping"}.get(type(node), "no text")
            message = f"this key is {kind}, and keys must be text"
            self._say("non-string-key", message, mark, path, help="quote it to make it text")
        return _Key(None, mark)

    def _say_duplicate(self, key: _Key, first: Mark, path: Path) -> None:
        self._say(
            "duplicate-key",
            f"the key `{_show_value(key.name or '')}` occurs a second time",
            key.mark,
            (*path, key.name or ""),
            help="write `<<: [*one, *other]`" if key.merges else "remove one of the two",
            notes=(Note("first given here", first),),
        )

    # --- aliases, merges, tags, templates

    def _begin_anchor(self, event: ParseEvent, name: str, path: Path) -> None:
        start = event.start
        mark = self._mark(start, start + len(name) + 1)
        if name in self._open:
            self._say(
                "duplicate-anchor",
                f"the anchor `&{_show_value(name)}` occurs a second time",
                mark,
                path,
                notes=(Note("first given here", self._open[name]),),
            )
        self._open.setdefault(name, mark)

    def _alias(self, event: ParseEvent, path: Path) -> Node:
        name = event.anchor or ""
        node = self._anchors.get(name)
        if node is not None:
            return node
        mark = self._mark(event.start, event.end)
        if name in self._open:
            self._say(
                "alias-cycle",
                f"`*{_show_value(name)}` refers to a value that contains it",
                mark,
                path,
                notes=(Note("the anchor is here", self._open[name]),),
            )
        else:
            suggestion = did_you_mean(name, self._anchors)
            self._say(
                "undefined-alias",
                f"there is no anchor `&{_show_value(name)}` above this",
                mark,
                path,
                label=f"did you mean `*{suggestion}`?" if suggestion else "",
                help="" if suggestion else "quote the value to make it text",
            )
        return Broken(mark)

    def _apply_merge_keys(
        self,
        merging: tuple[Mark, Node],
        entries: dict[str, Node],
        keys: dict[str, Mark],
        path: Path,
    ) -> tuple[dict[str, Node], dict[str, Mark]]:
        """Return the entries of a map with those of its `<<` below them; nearer ones win."""
        place, value = merging
        parents = value.items if isinstance(value, Seq) else (value,)
        for parent in parents:
            if isinstance(parent, Map):
                entries = {**parent.entries, **entries}
                keys = {**parent.keys, **keys}
            elif not isinstance(parent, Broken):
                self._say(
                    "merge-key",
                    "`<<` takes a mapping or a list of mappings",
                    place,
                    (*path, "<<"),
                    help='quote the key ("<<") to make it text',
                )
        return entries, keys

    def _is_template(self, event: ParseEvent, child: ParseEvent) -> bool:
        """Say whether a map is `{{ … }}` without quotes: in it stands a map as a key."""
        if child.kind != "map":
            return False
        start = event.start
        return child.start == start + 1 and self._text.startswith("{{", start)

    def _skip(self, event: ParseEvent) -> None:
        depth = 0
        while True:
            depth += event.kind in ("list", "map")
            depth -= event.kind == "end"
            if depth == 0:
                return
            event = next(self._events)

    # --- places and words

    def _start(self, event: ParseEvent) -> int:
        """Return where the value itself starts, after its anchor and tag."""
        start = event.start
        if event.anchor is None and event.tag is None:
            return start
        match = _PROPERTIES.match(self._text, start)
        return match.end() if match else start

    def _around(self, event: ParseEvent, end: ParseEvent, first: Mark | None) -> Mark:
        """Return the mark of a collection: what stands on its first line."""
        start = self._start(event)
        if event.style or first is None:
            return self._mark(start, end.end)
        mark = self._mark(start, start + 1)
        return _wider(mark, first)

    def _say(
        self,
        code: str,
        message: str,
        mark: Mark,
        path: Path,
        *,
        label: str = "",
        help: str = "",
        notes: tuple[Note, ...] = (),
    ) -> None:
        self.diagnostics.append(
            Diagnostic(
                code=code,
                message=message,
                mark=mark,
                path=path,
                label=label,
                help=help,
                notes=notes,
            )
        )

    def _say_fault(self, fault: SyntaxFault, path: Path) -> None:
        diagnostic = self._places.diagnostic(fault)
        self._say(
            diagnostic.code,
            diagnostic.message,
            diagnostic.mark or Mark(self._places.source),
            path,
            label=diagnostic.label,
            help=diagnostic.help,
        )


def _wider(mark: Mark, other: Mark) -> Mark:
    """Return `mark`, stretched to the end of `other` where that stands on the same line."""
    if other.line != mark.line or other.end <= mark.end:
        return mark
    return Mark(mark.source, mark.line, mark.column, other.end)


def _show_value(name: str) -> str:
    return name if len(name) <= _LONGEST_SHOWN else name[: _LONGEST_SHOWN - 1] + "…"
