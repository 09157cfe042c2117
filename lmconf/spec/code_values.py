"""Values given in code, as nodes: what a request holds as data is never searched for dollar words.

| where | what a mapping with a dollar word is |
|---|---|
| data: `tools`, `response_format`, `extra`, `metadata` …; names of headers | itself |
| elsewhere in `LM(…)` and `copy(…)`: a key, a header's value, a block | what a document says by it |
| elsewhere in one call | a mistake |

A reference in code is an object (`lmconf.Env`, `lmconf.File`), wherever it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.document.nodes import (
    Broken,
    Change,
    Map,
    Node,
    Path,
    Seq,
    Verbatim,
    from_plain,
)
from lmconf.document.operators import OPTIONS, holds_word, recognise_value_operators
from lmconf.document.yaml.limits import DEPTH
from lmconf.errors import UsageError
from lmconf.schema import Json, ListOf, MapOf, Record, Shape
from lmconf.schema.declaration import Spec, fields
from lmconf.secrets.references import REFERENCES
from lmconf.secrets.secret_names import is_secret_name
from lmconf.spec.lm import LMSpec, SoleLMSpec

__all__ = ["document_node", "settings_node"]

_LMS = (LMSpec, SoleLMSpec)


def settings_node(
    settings: Mapping[str, Any], mark: Mark, diagnostics: list[Diagnostic], *, for_one_call: bool
) -> Map:
    """Return the node of an LM's settings, given in code.

    Args:
        settings: plain data, with references as objects.
        mark: the place that messages name.
        diagnostics: what is wrong is added to it.
        for_one_call: the settings are those of one call, in which dollar words mean nothing.

    Raises:
        UsageError: they hold what no document can hold, or are nested too deeply.
    """
    reader = _Reader(mark, diagnostics, for_one_call=for_one_call)
    try:
        entries = {
            name: reader.value(value, _shape_of(name), (name,)) for name, value in settings.items()
        }
    except TypeError as error:
        raise UsageError(f"{mark.source.name}: {error}") from None
    return Map(entries, dict.fromkeys(entries, mark), mark)


def document_node(value: object, path: Path, mark: Mark, diagnostics: list[Diagnostic]) -> Node:
    """Return the node of a value in which dollar words mean what they mean in a document.

    Args:
        value: plain data, with references as objects.
        path: where it stands in the LM.
        mark: the place that messages name.
        diagnostics: what is wrong is added to it.

    Raises:
        TypeError: it holds what no document can hold.
    """
    return recognise_value_operators(from_plain(_spell(value, path), mark), path, diagnostics)


def _spell(value: object, path: Path) -> object:
    """Return `value` with its references as a document spells them: they are judged as there."""
    _check_depth(path)
    if isinstance(value, REFERENCES):
        return dict(value.written())
    if isinstance(value, Spec):
        return Record(type(value)).write(value)
    if isinstance(value, Mapping):
        return {key: _spell(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spell(item, (*path, index)) for index, item in enumerate(value)]
    return value


def _check_depth(path: Path) -> None:
    if len(path) > DEPTH:
        raise UsageError(f"`{path[0]}` is nested more than {DEPTH} deep")


def _shape_of(name: str) -> Shape | None:
    declared = fields(LMSpec).get(name)
    return None if declared is None else declared.shape


class _Reader:
    def __init__(self, mark: Mark, diagnostics: list[Diagnostic], *, for_one_call: bool) -> None:
        self.mark = mark
        self.diagnostics = diagnostics
        self.for_one_call = for_one_call

    def value(self, value: object, shape: Shape | None, path: Path) -> Node:
        """Return the node of `value`, which stands at `path` and has `shape`."""
        _check_depth(path)
        chosen = None if shape is None else shape.choose(value)
        if isinstance(value, Mapping):
            return self.mapping(value, shape, chosen, path)
        if isinstance(value, list | tuple):
            if isinstance(chosen, Json):
                return self.data(value, path)
            inner = chosen.child(value, 0) if isinstance(chosen, ListOf) else None
            return Seq(tuple(self.items(value, inner, path)), self.mark)
        return document_node(value, path, self.mark, self.diagnostics)

    def items(self, values: list[Any] | tuple[Any, ...], shape: Shape | None, path: Path) -> Any:
        return (self.value(item, shape, (*path, index)) for index, item in enumerate(values))

    def mapping(
        self, value: Mapping[Any, Any], shape: Shape | None, chosen: Shape | None, path: Path
    ) -> Node:
        if isinstance(chosen, Json):
            return self.data(value, path)
        if isinstance(chosen, MapOf):
            entries = {
                _name(key): self.value(item, chosen.value, (*path, key))
                for key, item in value.items()
            }
            return self.literal(entries, value, path)
        if holds_word(value):
            return self.operator(value, shape, path)
        if self.for_one_call or (isinstance(chosen, Record) and chosen.type in _LMS):
            entries = {
                _name(key): self.value(
                    item, None if chosen is None else chosen.child(value, key), (*path, key)
                )
                for key, item in value.items()
            }
            return Map(entries, dict.fromkeys(entries, self.mark), self.mark)
        return document_node(value, path, self.mark, self.diagnostics)

    def operator(self, value: Mapping[Any, Any], shape: Shape | None, path: Path) -> Node:
        """Return what a mapping with a dollar word says where nothing holds such a mapping."""
        if self.for_one_call:
            self.diagnostics.append(_no_operator(value, path, self.mark))
            return Broken(self.mark)
        item = _item_of(shape)
        if (
            item is not None
            and value.keys() <= {"$append", "$prepend"}
            and all(isinstance(items, list | tuple) for items in value.values())
        ):
            # What is added may hold data.
            before, after = (
                tuple(self.items(value.get(word, ()), item, path))
                for word in ("$prepend", "$append")
            )
            return Change(self.mark, prepend=before, append=after)
        return document_node(value, path, self.mark, self.diagnostics)

    def data(self, value: object, path: Path) -> Node:
        """Return the node of data: nothing in it is looked for but references that are objects."""
        _check_depth(path)
        if isinstance(value, Mapping):
            if _means_secret(value, path):
                self.diagnostics.append(_no_operator(value, path, self.mark))
                return Broken(self.mark)
            entries = {_name(key): self.data(item, (*path, key)) for key, item in value.items()}
            return self.literal(entries, value, path)
        if isinstance(value, list | tuple):
            items = (self.data(item, (*path, index)) for index, item in enumerate(value))
            return Seq(tuple(items), self.mark)
        return document_node(value, path, self.mark, self.diagnostics)

    def literal(self, entries: dict[str, Node], value: Mapping[Any, Any], path: Path) -> Node:
        """Return the map of `entries`, whose keys are no dollar words whatever they look like."""
        whole = Map(entries, dict.fromkeys(entries, self.mark), self.mark)
        word = next((key for key in value if "{{" in key), None)
        if self.for_one_call or (word is None and not holds_word(value)):
            return whole
        # An LM has a state, in which such a mapping is spelled as `{$value: …}`.
        if _refers(value):
            word = word or next(key for key in value if key.startswith("$"))
            self.diagnostics.append(
                Diagnostic(
                    code="dollar-key",
                    message=f"`{word}` is data here, and cannot stand beside a reference or secret",
                    mark=self.mark,
                    path=path,
                    help="no document can say that: pass it with each call",
                )
            )
            return Broken(self.mark)
        return Verbatim(_plain(value), self.mark)


def _name(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys must be strings, not {type(key).__name__}: {key!r}")
    return key


def _means_secret(value: Mapping[Any, Any], path: Path) -> bool:
    """Say whether `value` stands under a secret's name, as a document would refer to it."""
    return (
        isinstance(path[-1], str)
        and is_secret_name(path[-1])
        and any(word in value for word in ("$env", "$file"))
    )


def _item_of(shape: Shape | None) -> Shape | None:
    """Return the shape of an item, where `shape` admits a list."""
    lists = () if shape is None else shape.alternatives
    return next((each.item for each in lists if isinstance(each, ListOf)), None)


def _refers(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_refers, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_refers, value))
    return isinstance(value, REFERENCES)


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _no_operator(value: Mapping[Any, Any], path: Path, mark: Mark) -> Diagnostic:
    """Return what is wrong with a mapping that a document would take for a dollar word."""
    name = ".".join(map(str, path))
    word = next((key for key in value if key in OPTIONS), "")
    if word == "$unset":
        message = f"`{name}` cannot be unset in one call"
        help_ = f"give a value, or use lm.copy({path[0]}={{'$unset': True}})"
    else:
        shown = word or next(iter(value))
        message = f"`{name}` is a mapping with `{shown}`, which means nothing here"
        help_ = "give the value itself: dollar words belong to documents"
        if word in ("$env", "$file"):
            kind = "Env" if word == "$env" else "File"
            help_ = f"pass lmconf.{kind}(…): in code, a reference is an object"
    return Diagnostic(code="dollar-in-code", message=message, mark=mark, path=path, help=help_)
