"""The parts that a composed document falls into, and which of the two forms it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from lmconf.document.composing import Crossing
from lmconf.document.nodes import Map, Node
from lmconf.errors import Diagnostic, Mark, Note

__all__ = ["Parts", "heads", "part"]


class Parts(Struct, frozen=True, eq=False, kw_only=True):
    """A composed document, taken apart.

    `head` is what stands beside the LMs; `entries` are the LMs with all they inherit; `abstract`
    holds what is only inherited from, `defaults` among it.
    """

    variables: Map | None
    head: Map
    entries: Mapping[str, Node]
    abstract: Mapping[str, Node]
    crossings: tuple[Crossing, ...]
    defaults: Map | None = None


_LEFT_OUT: dict[str, tuple[str, ...]] = {
    # Everything but what was used while files were gathered.
    "head": ("extends",),
    # A profile without its LMs.
    "profile": ("lms", "defaults"),
    # What of a profile's head is rendered and checked.
    "values": ("vars",),
    # The LM of a one-LM document.
    "lm": ("vars", "lmconf"),
}


def part(root: Map, name: Literal["head", "profile", "values", "lm", "version"]) -> Map:
    """Return `root` without the keys that do not belong to the part `name`, nor parked anchors."""
    if name == "version":
        kept = {key: value for key, value in root if key == "lmconf"}
    else:
        out = _LEFT_OUT[name]
        kept = {key: value for key, value in root if key not in out and not key.startswith("x-")}
    return Map(kept, root.keys, root.mark)


def heads(roots: Sequence[Map], found: list[Diagnostic]) -> Literal["one", "many"] | None:
    """Return which form the documents have, or None after reporting that they have none or both."""
    many = [mark for root in roots if (mark := _says_many(root)) is not None]
    one = [mark for root in roots if (mark := _says_one(root)) is not None]
    if many and one:
        found.append(
            Diagnostic(
                code="mixed-forms",
                message="a document is either one LM (`model` at the top) or several (`lms`)",
                mark=one[-1],
                path=("model",),
                label="one LM",
                help="move the LM's settings under `lms: {name: …}`",
                notes=(Note("several LMs", many[-1]),),
            )
        )
        return None
    if not many and not one:
        found.append(
            Diagnostic(
                code="no-lms",
                message="nothing here says which language model is meant",
                mark=roots[-1].mark,
                help="add `model: provider/name`, or several LMs under `lms:`",
            )
        )
        return None
    return "many" if many else "one"


def _says_many(root: Map) -> Mark | None:
    for key in ("lms", "defaults", "main", "stores"):
        if key in root:
            return root.keys[key]
    callbacks = root.get("callbacks")
    return root.keys["callbacks"] if isinstance(callbacks, Map) and "use" not in callbacks else None


def _says_one(root: Map) -> Mark | None:
    return root.keys["model"] if "model" in root else None
