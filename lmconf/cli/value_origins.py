"""Where each value of a state comes from: a line of a file, an option, or a default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from lmconf.diagnostics.model import Mark, Source
from lmconf.document.nodes import Map, Node, Path, Scalar, Seq, from_plain, to_plain
from lmconf.document.yaml.reader import read_document
from lmconf.document.yaml.writer import write
from lmconf.providers.families import family_of
from lmconf.schema.declaration import fields
from lmconf.spec.lm import LMSpec
from lmconf.spec.rules.fields import is_launcher

if TYPE_CHECKING:
    from lmconf.cli.select import Selection
    from lmconf.compiler.pipeline import CompiledProfile

__all__ = ["Origin", "annotate_origins", "origins"]

WIDEST = 56
"""The column up to which the origins are aligned; longer lines have theirs after them."""

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Origin(Struct, frozen=True):
    """Where one value comes from: `mark` is its place, None when it was filled in as `why`."""

    path: Path
    value: Any
    why: str
    mark: Mark | None = None

    def __str__(self) -> str:
        if self.mark is None:
            return self.why
        in_file = self.mark.line and self.mark.source.path is not None
        return f"{self.mark.source.name}:{self.mark.line}" if in_file else self.mark.source.name


def origins(selection: Selection, state: dict[str, Any]) -> Iterator[Origin]:
    """Yield the origin of each value of `state`, the state of `selection`, in order."""
    for path, node in _leaves(read_document(write(state), "").root):
        yield _origin(selection, path, to_plain(node))


def annotate_origins(selection: Selection, state: dict[str, Any], *, color: bool) -> str:
    """Return `state` as YAML with the origin of each value in a comment beside it."""
    text = write(state)
    lines = text.splitlines()
    # The first value that begins on a line tells that line's origin.
    origin_of_line: dict[int, str] = {}
    for path, node in _leaves(read_document(text, "").root):
        origin_of_line.setdefault(node.mark.line - 1, str(_origin(selection, path, to_plain(node))))
    widths = [len(lines[number]) for number in origin_of_line]
    width = min(max(widths, default=0), WIDEST)
    before, after = (_DIM, _PLAIN) if color else ("", "")
    for number, origin in origin_of_line.items():
        lines[number] = f"{lines[number]:<{width}}  {before}# {origin}{after}"
    return "\n".join(lines) + "\n"


def _leaves(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Yield path and node of each value that stands on lines of its own."""
    if isinstance(node, Map) and node.entries and not next(iter(node.entries)).startswith("$"):
        for key, value in node:
            yield from _leaves(value, (*path, key))
    elif isinstance(node, Seq) and any(isinstance(item, Map | Seq) for item in node.items):
        for index, item in enumerate(node.items):
            yield from _leaves(item, (*path, index))
    else:
        yield path, node


def _origin(selection: Selection, path: Path, value: Any) -> Origin:
    from lmconf.cli.select import is_one_lm

    profile = selection.profile
    # The format's version is said once, for a document of one LM too.
    of_lm = is_one_lm(selection) and path != ("lmconf",)
    whole = ("lms", selection.lm, *path) if of_lm else path
    node = _find_stated_node(profile, whole)
    source = _default_source(profile, whole, node, value)
    if source is not None:
        return Origin(path, value, source)
    provider_node = (
        node if node is not None else _find_stated_node(profile, (*whole[:2], "provider"))
    )
    return Origin(path, value, "stated", provider_node.mark if provider_node is not None else None)


def _find_stated_node(profile: CompiledProfile, path: Path) -> Node | None:
    """Return the node of the value at `path` of the profile, or None where nothing was said."""
    node: Node | None = profile.nodes
    for index, step in enumerate(path):
        if isinstance(node, Scalar):
            node = _find_definition(profile, path[:index], node)
        if isinstance(node, Map):
            node = node.get(str(step))
        elif isinstance(node, Seq) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        elif isinstance(node, Scalar | Seq) or node is None:
            return None
        # Anything else was said as a whole, as `{$value: …}` is.
    return node


def _find_definition(profile: CompiledProfile, path: Path, name: Scalar) -> Node | None:
    """Return the definition that `name`, standing at `path`, names: a state has it in place."""
    blocks = {"store": "stores", "callbacks": "callbacks", "fallbacks": "lms"}
    last = next((step for step in reversed(path) if isinstance(step, str)), "")
    block = profile.nodes.get(blocks.get(last, ""))
    return block.get(str(name.value)) if isinstance(block, Map) else name


def _default_source(
    profile: CompiledProfile, path: Path, node: Node | None, value: Any
) -> str | None:
    """Return what filled in the value at `path`, or None when it was said."""
    if path[:2] == ("provenance", "vars") or path[2:4] == ("provenance", "vars"):
        return "environment"
    if path[0] != "lms" or len(path) < 3:
        return None if node is not None else "default"
    lm = profile.spec.lms[str(path[1])]
    field = path[2:]
    if field in (("temperature",), ("max_tokens",)):
        return _from_family(lm, str(field[0]), node, value)
    if node is not None:
        return None
    if field == ("launch_kwargs", "use") and is_launcher(lm.provider):
        # Said after all: `provider` is its shorthand.
        return None
    if field in (("api_key",), ("api_base",)):
        return "no key: lmconf starts this server" if lm.launch_kwargs else "provider"
    return "default"


def _from_family(lm: LMSpec, name: str, node: Node | None, value: Any) -> str | None:
    family = family_of(lm.model, lm.base_model).name
    # A value of `defaults` that the family forbids gave way to the family's own.
    if node is not None and to_plain(node) == to_plain(from_plain(value, Mark(Source("")))):
        return None
    usual = value == fields(LMSpec)[name].default
    return "default" if usual else f"family {family}"
