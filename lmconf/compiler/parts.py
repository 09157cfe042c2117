"""The parts that a composed document falls into, and which of the two forms it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from lmconf.diagnostics.model import Diagnostic, Mark, Note
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.inheritance import Ancestor
from lmconf.document.nodes import Map, Node, Path, Scalar
from lmconf.schema.frozen import FrozenMap
from lmconf.spec.destinations import StatedValue
from lmconf.spec.profile import FORMAT_VERSION, SEVERAL

__all__ = ["ProfileParts", "document_form", "is_newer_format", "no_block", "part"]


class ProfileParts(Struct, frozen=True, eq=False, kw_only=True):
    """A composed document, taken apart.

    `flat` says that it is one LM by itself. `head` is what stands beside the LMs; `entries` are
    the LMs with all they inherit; `abstract` holds what is only inherited from, `defaults` among
    it. `statements` tell what each LM has that may belong to an address. `soft` names, for each LM, the fields that it has from `defaults` alone. `as_written` are the
    LMs as they stand in the document, and `chains` says where each inherits from, the nearest
    first.
    """

    flat: bool
    variables: Map | None
    head: Map
    entries: Mapping[str, Node]
    abstract: Mapping[str, Node]
    statements: Mapping[str, StatedValue] = FrozenMap()
    soft: Mapping[str, frozenset[str]] = FrozenMap()
    as_written: Map | None = None
    chains: Mapping[str, tuple[Ancestor, ...]] = FrozenMap()

    def path(self, name: str) -> Path:
        """Return the path under which people know the LM `name`."""
        if self.flat:
            return ()
        return ("defaults",) if name == "defaults" else ("lms", name)


def no_block(node: Node, path: Path) -> Diagnostic:
    """Return the diagnostic for an LM, or a block of LMs, that is no mapping.

    Args:
        node: what stands there instead.
        path: where it stands in the document.
    """
    value = node.value if isinstance(node, Scalar) else None
    model = value if isinstance(value, str) and "/" in value else "provider/name"
    if path == ("lms",):
        what, help_ = "of LMs by name", "write `lms: {name: {model: provider/name}}`"
    else:
        what, help_ = "with the LM's settings", f"write `{{model: {model}}}`"
    return Diagnostic(
        code="wrong-type",
        message=f"`{path[-1]}` must be a mapping {what}",
        mark=node.mark,
        path=path,
        help=help_,
    )


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
    """Return one part of a document, without parked anchors.

    Args:
        root: the root of the document.
        name: `head` is what was used while files were gathered, `profile` all but the LMs, `values`
            what of it is rendered and checked, `lm` the LM of a one-LM document, and `version` the
            version of the format alone.
    """
    if name == "version":
        entries = {key: value for key, value in root if key == "lmconf"}
    else:
        out = _LEFT_OUT[name]
        entries = {key: value for key, value in root if key not in out and not key.startswith("x-")}
    return Map(entries, root.keys, root.mark)


def is_newer_format(root: Map, diagnostics: list[Diagnostic]) -> bool:
    """Say whether a document is of a version of the format that is not known yet.

    Args:
        root: the root of the document.
        diagnostics: that it is so is added to it.
    """
    version = root.get("lmconf")
    number = version.value if isinstance(version, Scalar) else None
    if not isinstance(number, int) or isinstance(number, bool) or number <= FORMAT_VERSION:
        return False
    diagnostics.append(
        Diagnostic(
            code="format-version",
            message=f"this document is written for version {number} of the format, and this lmconf"
            f" reads version {FORMAT_VERSION}",
            mark=root.entries["lmconf"].mark,
            path=("lmconf",),
            help=f"update lmconf, or write the document for version {FORMAT_VERSION}",
        )
    )
    return True


def document_form(
    roots: Sequence[Map], diagnostics: list[Diagnostic]
) -> Literal["one", "many"] | None:
    """Return which form the documents have: one LM, or several.

    Args:
        roots: the roots of the documents, the lowest layer first.
        diagnostics: it is added to it where they have no form, or both.

    Returns:
        None where they have no form, or both.
    """
    many = [says for root in roots if (says := _find_profile_key(root)) is not None]
    one = [mark for root in roots if (mark := _find_model_key(root)) is not None]
    if many and one:
        diagnostics.append(_mixed_forms(one[-1], *many[-1]))
        return None
    if not many and not one:
        if roots[-1].entries or not diagnostics:
            diagnostics.append(_no_lm(roots[-1]))
        return None
    return "many" if many else "one"


def _mixed_forms(one: Mark, key: str, many: Mark) -> Diagnostic:
    return Diagnostic(
        code="mixed-forms",
        message="a document is either one LM (`model` at the top) or several (`lms`)",
        mark=one,
        path=("model",),
        label="this says one",
        help="move the LM's settings under `lms: {name: …}`"
        + ("" if key == "lms" else f", or remove `{key}`"),
        notes=(Note("this says several", many),),
    )


def _no_lm(root: Map) -> Diagnostic:
    """Return the diagnostic of a document without `model` and `lms`."""
    message = "this document does not name a model"
    for key, mark in root.keys.items():
        near = did_you_mean(key, ("model", "lms"))
        if near is not None and key in root:
            return Diagnostic(
                code="no-lms",
                message=message,
                mark=mark,
                path=(key,),
                label=f"did you mean `{near}`?",
            )
    return Diagnostic(
        code="no-lms",
        message=message,
        mark=root.mark,
        help="add `model: provider/name`, or several LMs under `lms:`",
    )


def _find_profile_key(root: Map) -> tuple[str, Mark] | None:
    key = next((key for key, _ in root if key in SEVERAL), None)
    if key is not None:
        return key, root.keys[key]
    callbacks = root.get("callbacks")
    if isinstance(callbacks, Map) and callbacks.entries and "use" not in callbacks:
        return "callbacks", root.keys["callbacks"]
    return None


def _find_model_key(root: Map) -> Mark | None:
    return next((root.keys[key] for key in ("model", "pool") if key in root), None)
