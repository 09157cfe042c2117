"""Values laid over a document: `--set path=value` and `overrides=` in code.

Both become `Assignment`s, and those one more layer, to be folded on top of the files before
entries inherit from each other, so that an override reaches whatever inherits it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from lmconf.diagnostics.model import Diagnostic, Mark, Note, Source
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.command_line import read_argument
from lmconf.document.merge import Rules, fold, normalise
from lmconf.document.nodes import (
    Broken,
    Change,
    Map,
    Node,
    Seq,
    from_plain,
)
from lmconf.document.operators import recognise_value_operators
from lmconf.secrets.secret_names import is_secret_name

__all__ = ["Assignment", "from_mapping", "overlay", "parse_set"]

_STEP = re.compile(r'"(?P<quoted>[^"]*)"|(?P<bare>[^."=]+)')
_EVERY = "*"


class Assignment(Struct, frozen=True):
    """One value and the path that it is laid over; `*` is every key that the document has there.

    `mark` is the place of the path, `steps` the place of each of its steps.
    """

    path: tuple[str, ...]
    node: Node
    mark: Mark
    steps: tuple[Mark, ...]


def parse_set(
    text: str, diagnostics: list[Diagnostic], *, option: str = "--set"
) -> Assignment | None:
    """Return what `--set 'lms.gpt.temperature=0.7'` says, or None after reporting its mistake.

    The value is read as YAML in one line (`[a, b]` and `{$append: [a]}` work; nothing is the
    empty text); steps of the path that hold dots stand in double quotes.
    """
    source = Source(option, text=text)
    steps, end = _steps(text)
    if end >= len(text) or text[end] != "=" or not steps:
        diagnostics.append(_malformed_path(text, steps, end, source, option))
        return None
    path = tuple(step for step, _, _ in steps)
    key = next((step for step in path if is_secret_name(step)), path[-1])
    node = read_argument(text, end + 1, diagnostics, option=option, key=key)
    if node is None:
        return None
    source = node.mark.source
    places = tuple(Mark(source, 1, start + 1, stop + 1) for _, start, stop in steps)
    return Assignment(path, node, Mark(source, 1, 1, end + 1), places)


def _steps(text: str) -> tuple[list[tuple[str, int, int]], int]:
    """Return the steps of the path that `text` begins with, and where the path ends."""
    steps: list[tuple[str, int, int]] = []
    position = 0
    while (match := _STEP.match(text, position)) is not None:
        name = match["bare"].strip() if match["quoted"] is None else match["quoted"]
        if not name and match["quoted"] is None:
            break
        steps.append((name, match.start(), match.end()))
        if not text.startswith(".", match.end()):
            return steps, match.end()
        position = match.end() + 1
    return steps, max(position - 1, 0)


def _malformed_path(
    text: str, steps: Sequence[tuple[str, int, int]], end: int, source: Source, option: str
) -> Diagnostic:
    example = f"such as `{option} lms.gpt.temperature=0.7`"
    if "=" not in text:
        message, help = f"`{option}` needs a path, `=` and a value", example
        after = re.search(r"\s", text)
        source = Source(option, text=text, hidden=((after.end(), len(text)),) if after else ())
    else:
        # What follows may be a secret, and its name could not be read.
        source = Source(option, text=text, hidden=((text.index("=") + 1, len(text)),))
        message = "a step of the path is missing" if steps else "the path is missing"
        help = f'{example}; a step with dots or quotes is written "a.b"'
    column = min(end, len(text)) + 1
    return Diagnostic(
        code="set-path", message=message, mark=Mark(source, 1, column, column + 1), help=help
    )


def from_mapping(
    overrides: Mapping[str, object], diagnostics: list[Diagnostic], *, name: str = "overrides"
) -> list[Assignment]:
    """Return the assignments that a mapping made in code says, under the name of `name`.

    Keys of the mapping itself may be dotted paths; nested mappings are walked into, up to those
    with dollar signs. `lmconf.Env` and its kin may stand as values.
    """
    mark = Mark(Source(name))
    assignments: list[Assignment] = []
    items: Iterable[tuple[object, object]] = overrides.items()
    for key, value in items:
        steps, end = _steps(key) if isinstance(key, str) else ([], 0)
        if not isinstance(key, str) or not steps or end < len(key):
            diagnostics.append(
                Diagnostic(
                    code="set-path",
                    message=f"a key of `{name}` is not a path",
                    mark=mark,
                    help='keys are text such as "lms.gpt.temperature"',
                )
            )
            continue
        path = tuple(step for step, _, _ in steps)
        for whole, leaf in _leaves(path, value):
            node = _node_from_code(whole, leaf, mark, diagnostics)
            if node is not None:
                assignments.append(Assignment(whole, node, mark, (mark,) * len(whole)))
    return assignments


def _leaves(path: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, Mapping) and value and _is_walked(value):
        for key, inner in value.items():
            yield from _leaves((*path, key), inner)
        return
    yield path, value


def _is_walked(value: Mapping[object, object]) -> bool:
    return all(isinstance(key, str) and not key.startswith("$") for key in value)


def _node_from_code(
    path: tuple[str, ...], value: object, mark: Mark, diagnostics: list[Diagnostic]
) -> Node | None:
    try:
        return from_plain(value, mark)
    except TypeError as error:
        diagnostics.append(
            Diagnostic(
                code="set-value",
                message=f"`{'.'.join(path)}` has a value that a document cannot hold: {error}",
                mark=mark,
                path=path,
                help="give text, numbers, booleans, null, lists, mappings or references",
            )
        )
        return None


def overlay(
    document: Map,
    assignments: Sequence[Assignment],
    diagnostics: list[Diagnostic],
    rules: Rules,
    *,
    entries: str = "lms",
    top: Collection[str] = (),
    folder: str | None = None,
) -> Map:
    """Return `assignments` as one normalised layer to be folded over `document`.

    Args:
        document: all files folded; it says which entries there are.
        assignments: in order: later ones win.
        diagnostics: where paths that lead nowhere are reported.
        rules: those of the fold that the layer is made for.
        entries: the key of the map of named entries; in a document without it, which is one
            entry by itself, `lms.*` stands for the document.
        top: the keys that a document with entries may have; none given, none checked.
        folder: where relative paths of `$file` start.
    """
    laying = _OverlayBuilder(document, diagnostics, entries, top)
    layers = []
    for assignment in assignments:
        path = laying.path(assignment)
        if path is None:
            continue
        node = recognise_value_operators(assignment.node, path, diagnostics, folder=folder)
        steps = assignment.steps[len(assignment.steps) - len(path) :]
        found_places = laying.layers(document, path, steps, node, assignment)
        layers += [normalise(layer, rules) for layer in found_places]
    return fold(layers, rules)


class _OverlayBuilder:
    """Finds the places of a document that paths name."""

    def __init__(
        self, document: Map, diagnostics: list[Diagnostic], entries: str, top: Collection[str]
    ) -> None:
        self.document = document
        self.diagnostics = diagnostics
        self.entries = entries
        self.top = top

    def path(self, assignment: Assignment) -> tuple[str, ...] | None:
        """Return the path within this document, or None after reporting that there is none."""
        path = assignment.path
        first = path[0]
        if self.entries in self.document:
            if self.top and first not in self.top and not first.startswith("x-"):
                self.say_top(assignment)
                return None
            return path if first != self.entries else self.entry(assignment)
        if first != self.entries or len(path) < 3:
            return path
        if path[1] != _EVERY:
            rest = ".".join(path[2:])
            self.say(assignment, 0, "this document is one LM by itself", f"write `{rest}=…`")
            return None
        return path[2:]

    def entry(self, assignment: Assignment) -> tuple[str, ...] | None:
        entries = self.document.entries[self.entries]
        path = assignment.path
        if len(path) < 2 or path[1] == _EVERY or not isinstance(entries, Map) or path[1] in entries:
            return path
        near = did_you_mean(path[1], entries.entries)
        names = ", ".join([*entries.entries][:12])
        self.say(
            assignment,
            1,
            f"there is no `{path[1]}` in `{self.entries}`",
            f"did you mean `{near}`?" if near else f"there are: {names}" if names else "",
            (Note(f"`{near}` is defined here", entries.keys[near]),) if near else (),
        )
        return None

    def say_top(self, assignment: Assignment) -> None:
        path = ".".join(assignment.path)
        near = did_you_mean(assignment.path[0], self.top)
        every = f"`{self.entries}.{_EVERY}.{path}=…`"
        self.say(
            assignment,
            0,
            f"`{assignment.path[0]}` is not a key of a document with `{self.entries}`",
            f"did you mean `{near}`? For a field of all LMs, write {every}"
            if near
            else f"for a field of all LMs, write {every}",
        )

    def say(
        self,
        assignment: Assignment,
        step: int,
        message: str,
        help: str,
        notes: tuple[Note, ...] = (),
    ) -> None:
        self.diagnostics.append(
            Diagnostic(
                code="set-path",
                message=message,
                mark=assignment.steps[step],
                path=assignment.path,
                help=help,
                notes=notes,
            )
        )

    def layers(
        self,
        below: Node | None,
        path: tuple[str, ...],
        steps: tuple[Mark, ...],
        node: Node,
        assignment: Assignment,
    ) -> Iterator[Map]:
        """Yield a map for each place below `below` that `path` names, holding `node` there.

        What the document has already keeps its places: only what is new stands in the override.
        """
        if isinstance(below, Change):
            below = below.base
        if isinstance(below, Broken):
            return
        if isinstance(below, Seq):
            self.say_list(assignment, len(assignment.path) - len(path))
            return
        base = below if isinstance(below, Map) else None
        if path[0] == _EVERY and not (base and base.entries):
            step = len(assignment.path) - len(path)
            self.say(assignment, step, "`*` matches nothing here", "name the key")
            return
        names = tuple(base.entries) if base and path[0] == _EVERY else (path[0],)
        for name in names:
            inner = base.get(name) if base else None
            place = base.mark if base else assignment.mark
            if len(path) == 1:
                yield Map({name: node}, {name: steps[0]}, place)
                continue
            key = base.keys[name] if base and name in base else steps[0]
            for deeper in self.layers(inner, path[1:], steps[1:], node, assignment):
                yield Map({name: deeper}, {name: key}, place)

    def say_list(self, assignment: Assignment, step: int) -> None:
        path = ".".join(assignment.path[:step])
        self.say(
            assignment,
            step,
            f"`{path}` is a list: single items have no path",
            f"write the whole list, `{path}=[…]`, or `{path}={{$append: […]}}`",
        )
