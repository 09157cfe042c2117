"""From what was said of one LM to its checked spec: the one way that files and code share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path as FilePath
from typing import Any

import msgspec
from msgspec import structs

from lmconf.diagnostics.model import Diagnostic, Mark, Source
from lmconf.document.merge import fold, normalise, settle
from lmconf.document.nodes import Broken, Map, Path, from_plain, to_plain
from lmconf.document.operators import recognise_operators
from lmconf.errors import ProfileError, UsageError
from lmconf.providers.families import DECIDING, default_of, family_of
from lmconf.schema import Record
from lmconf.schema.check import Fault, check
from lmconf.schema.declaration import field_names, fields
from lmconf.schema.fault import UnreadableValue
from lmconf.schema.frozen import FrozenMap, freeze
from lmconf.secrets.references import HiddenValues
from lmconf.spec.code_arguments import given_names, split_settings
from lmconf.spec.code_values import settings_node
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.destinations import (
    StatedValue,
    Statement,
    find_crossed,
    leaves_of,
    node_identities,
    without_credentials,
)
from lmconf.spec.lm import LM, LMSpec, SoleLMSpec
from lmconf.spec.mentions import find_mentions
from lmconf.spec.merge_rules import LMRules
from lmconf.spec.plain_data import to_data, to_diagnostics, with_absolute_paths
from lmconf.spec.profile import FORMAT_VERSION
from lmconf.spec.rules.access import name_usual_variable
from lmconf.spec.rules.consistency import check_lm, complete_lm
from lmconf.spec.rules.model_family import DEFAULTED, YIELDING
from lmconf.spec.rules.pools import complete_pool, is_pool
from lmconf.system.tracebacks import hide_frames

__all__ = [
    "CALL_FIELDS",
    "ROW_FIELDS",
    "change_lm",
    "complete_data",
    "make_from_stated",
    "make_lm",
    "spec_for_call",
]


CALL_FIELDS = frozenset(field_names(SoleLMSpec, lambda field: field.per_call))
"""The settings that a single call may change."""

ROW_FIELDS = frozenset(
    name
    for name in CALL_FIELDS
    if not isinstance(shape := fields(SoleLMSpec)[name].shape, Record) or shape.short is not None
)
"""The settings that one input of a batch may state: those of a call that need no block."""

_RULES = LMRules(flat=True)

_BLOCKS = frozenset(
    name for name in CALL_FIELDS if isinstance(fields(SoleLMSpec)[name].shape, Record)
) | {"headers"}


@hide_frames
def make_lm(settings: Mapping[str, object], *, name: str | None = None) -> CompiledLM:
    """Return the LM that `settings`, keyword arguments in code, describe.

    Literal secrets go to `CompiledLM.given` and the spec holds `{$given: …}` in their place; None
    for a field that knows no null means "left out"; callbacks that are objects go to
    `CompiledLM.live`. Settings with `lmconf`, the format's version, are a state (`LM(**state)`): all
    that `dump_state` wrote means what it means there.

    Raises:
        ProfileError: the settings do not fit; every mistake at once.
    """
    return _compile_statement(*split_settings(settings), name=name)


@hide_frames
def make_from_stated(stated: Mapping[str, Any], *, name: str | None = None) -> CompiledLM:
    """Return the LM that `stated`, plain data as a document spells it, describes.

    Unlike in `make_lm`, a literal secret is a mistake.
    """
    root = _recognise_plain(stated, mark := Mark(Source("the state")))
    return _compile(root, {}, (), name, mark)


@hide_frames
def change_lm(
    compiled: CompiledLM, settings: Mapping[str, object], *, elsewhere: bool = False
) -> CompiledLM:
    """Return `compiled` with `settings` laid over what was said of it, checked anew.

    Another `model` resets what belongs to the model; a key, address or header that belongs to
    another provider, or a credential to another address, must be restated. With `elsewhere`, they
    are left behind.

    Raises:
        ProfileError: the changed LM does not fit.
    """
    said, given, live, dropped = split_settings(settings)
    mark = Mark(Source("copy(…)"))
    lower = _recognise_plain(compiled.stated, Mark(Source(compiled.name)))
    kept = Map({key: node for key, node in lower if key not in dropped}, lower.keys, lower.mark)
    kept = without_credentials(kept) if elsewhere else kept
    found: list[Diagnostic] = []
    root = settle(fold([kept, _settings_root(said, mark)], _RULES), found, usual=_RULES.usual)
    kept_from_lower = node_identities(lower)
    stated = tuple(
        Statement(path, node, lower if id(node) in kept_from_lower else root)
        for path, node in leaves_of(root)
    )
    found += find_crossed(StatedValue(stated, unset=mark if "api_base" in lower else None), root)
    if found:
        raise ProfileError(found)
    objects = live if "callbacks" in settings else compiled.live
    changed = _compile(root, {**compiled.given, **given}, objects, compiled.name, mark)
    # What was not said anew still stands where it stood.
    places = {
        path: place
        for path, place in compiled.places.items()
        if not path or (path[0] not in settings and path[0] in changed.stated)
    }
    return structs.replace(
        changed,
        places=places,
        allow_imports=compiled.allow_imports,
        fallback_names=() if "fallbacks" in settings else compiled.fallback_names,
        member_names=() if "pool" in settings else compiled.member_names,
        profile_budget=compiled.profile_budget,
    )


@hide_frames
def spec_for_call(compiled: CompiledLM, settings: Mapping[str, object]) -> LMSpec:
    """Return the spec of one call: that of `compiled` with the call's own `settings`.

    Raises:
        ProfileError: a setting is unknown, has the wrong type, or breaks the model's rules.
        UsageError: a setting belongs to the LM and not to a call.
    """
    fixed = [name for name in settings if name in fields(LMSpec) and name not in CALL_FIELDS]
    if fixed:
        raise UsageError(
            f"`{fixed[0]}` belongs to the LM and cannot change in one call:"
            f" use lm.copy({fixed[0]}=…)"
        )
    cache = settings.get("cache")
    if isinstance(cache, Mapping) and cache.get("store", {}) != {}:
        raise UsageError(
            "`cache.store` belongs to the LM and cannot change in one call: use lm.copy(cache=…)"
        )
    mark = Mark(Source("this call"))
    said, given, _, _ = split_settings(settings)
    if given:
        raise UsageError(
            f"`{next(iter(given))}` is a secret: pass it with lm.copy(…), not in a call"
        )
    layer = _settings_root(said, mark, for_one_call=True)
    # Blocks merge as they do between files; what goes into the request's body replaces.
    below = {key: compiled.stated[key] for key in said if key in _BLOCKS & compiled.stated.keys()}
    lower = _recognise_plain(below, Mark(Source(compiled.name)))
    found: list[Diagnostic] = []
    root = settle(fold([lower, layer], _RULES), found, usual=_RULES.usual)
    if found:
        raise ProfileError(found)
    node = with_absolute_paths(root, LM, str(FilePath.cwd()))
    data = to_data(node)
    assert isinstance(data, Mapping)
    if not data:
        return compiled.spec
    faults = check(LM, data, partial=True)
    spec = compiled.spec
    if not faults:
        declared = fields(LMSpec)
        built = {key: declared[key].shape.build(value) for key, value in data.items()}
        spec = _with_defaults(compiled, msgspec.structs.replace(spec, **built), said.keys())
        ruled = {key: getattr(spec, key) for key in _RULED}
        faults = [
            placed
            for fault in check_lm({**ruled, "api_key": ""})
            if (placed := _of_call(fault, data)) is not None
        ]
    if faults:
        raise ProfileError(to_diagnostics(faults, node))
    return spec


def _with_defaults(compiled: CompiledLM, spec: LMSpec, said: Collection[str]) -> LMSpec:
    """Return `spec`, that of a call, with the defaults that what the call `said` decides anew."""
    if not DECIDING.intersection(said):
        return spec
    family = family_of(spec.model, spec.base_model)
    before, after = (
        {name: getattr(each, name) for name in DECIDING} for each in (compiled.spec, spec)
    )
    changed = {
        name: default_of(family, name, after)
        for name in DEFAULTED
        if name not in said
        and name not in compiled.stated
        and getattr(spec, name) == default_of(family, name, before)
    }
    return structs.replace(spec, **changed)


def _of_call(fault: Fault, data: Mapping[str, Any]) -> Fault | None:
    """Return `fault` at one of the call's own settings, `data`; None if it is none of theirs."""
    if fault.path[0] in data:
        return fault
    if fault.code != "family-rule":
        return None
    # The LM alone keeps its family's rules: what the call said beside it does not fit.
    place = next((name for name in _BLAMED if name in data), None)
    return None if place is None else structs.replace(fault, path=(place,))


_RULED = (*field_names(SoleLMSpec, lambda field: field.role == "identity"), "headers", "transport")
# Where a fault is placed that lies in something else: first what rules of families are about.
_BLAMED = (*YIELDING, *(name for name in _RULED if name in DECIDING), *_RULED)


def complete_data(
    node: Map,
    soft: frozenset[str] = frozenset(),
    *,
    abstract: bool = False,
    named: Mapping[str, object] = FrozenMap(),
) -> tuple[dict[str, Any], list[Fault]]:
    """Return the plain data of one LM, completed by what its model decides, and its faults.

    `node` is normalised, settled and rendered; `soft` names the fields that came from `defaults`.
    An `abstract` LM need not have a model, and is not completed. `named` is the data of the other
    LMs, which a pool may have as members.
    """
    data = to_data(node)
    assert isinstance(data, dict)
    taken: frozenset[str] = frozenset()
    if is_pool(data) and not abstract:
        data, taken = complete_pool(data, soft, lambda item: _member(item, named))
    faults = name_usual_variable(check(LM, data, partial=abstract), data)
    if taken:
        # What is wrong with a member is told there.
        faults = [
            fault
            for fault in faults
            if not (fault.path and fault.path[0] in taken)
            and not (fault.code == "missing-key" and fault.path == ())
        ]
    if abstract:
        return data, faults
    wrong = {fault.path[0] for fault in faults if fault.path}
    if "model" not in data or "model" in wrong or isinstance(data["model"], UnreadableValue):
        return data, faults
    right = {key: UnreadableValue() if key in wrong else value for key, value in data.items()}
    full = complete_lm(right, soft)
    faults += check_lm(full)
    for name in ("fallbacks", "pool"):
        if isinstance(full.get(name), list):
            full[name] = [
                complete_lm(item) if isinstance(item, Mapping) else item for item in full[name]
            ]
            for index, item in enumerate(full[name]):
                if isinstance(item, Mapping):
                    faults += [_below(fault, (name, index)) for fault in check_lm(item)]
    return full, faults


def _member(item: object, named: Mapping[str, object]) -> Mapping[str, Any] | None:
    """Return the data of a pool's member, None where it has no model to go by."""
    found = named.get(item) if isinstance(item, str) else item
    if not isinstance(found, Mapping) or not isinstance(found.get("model"), str):
        return None
    return complete_lm(found)


def _below(fault: Fault, path: Path) -> Fault:
    return structs.replace(fault, path=(*path, *fault.path))


def _compile_statement(
    said: dict[str, Any],
    given: dict[str, str],
    live: tuple[object, ...],
    dropped: list[str],
    *,
    name: str | None,
) -> CompiledLM:
    mark = Mark(Source("lmconf.LM(…)"))
    if said.get("lmconf") == FORMAT_VERSION:
        stated = {key: value for key, value in said.items() if key != "lmconf"}
        return _compile(_recognise_plain(stated, mark), given, live, name, mark)
    return _compile(_settings_root(said, mark), given, live, name, mark)


def _settings_root(said: Mapping[str, Any], mark: Mark, *, for_one_call: bool = False) -> Map:
    """Return the node of what was `said` in code.

    Raises:
        ProfileError, UsageError: it does not fit.
    """
    found: list[Diagnostic] = []
    root = normalise(settings_node(said, mark, found, for_one_call=for_one_call), _RULES)
    if found:
        raise ProfileError(found)
    return root


def _recognise_plain(plain: Mapping[str, Any], mark: Mark) -> Map:
    found: list[Diagnostic] = []
    try:
        root = from_plain(plain, mark)
    except TypeError as error:
        raise UsageError(f"{mark.source.name}: {error}") from None
    assert isinstance(root, Map)
    recognised = normalise(recognise_operators(root, found), _RULES)
    if found:
        raise ProfileError(found)
    return recognised


def _compile(
    root: Map, given: Mapping[str, str], live: tuple[object, ...], name: str | None, mark: Mark
) -> CompiledLM:
    found: list[Diagnostic] = []
    # A block may have become empty by what was unset in it.
    settled = normalise(settle(root, found, usual=_RULES.usual), _RULES)
    whole = with_absolute_paths(settled, LM, str(FilePath.cwd()))
    assert isinstance(whole, Map)
    data, faults = complete_data(whole)
    faults += [fault for fault in _names_in(data) if not faults]
    found += to_diagnostics(faults, whole)
    if found or any(isinstance(value, Broken) for _, value in whole):
        raise ProfileError(found)
    spec = LM.build(data)
    stated = to_plain(whole)
    used = set(given_names(data))
    assert isinstance(spec, LMSpec)
    return CompiledLM(
        spec=spec,
        name=name or spec.model,
        stated=freeze(stated),
        given=HiddenValues({key: value for key, value in given.items() if key in used}),
        live=live,
    )


_FORMS = {
    "stores": ("store", "{backend: disk}"),
    "callbacks": ("callback", "{use: …}"),
    "lms": ("LM", "{model: …}"),
}


def _names_in(data: Mapping[str, Any]) -> list[Fault]:
    """Return a fault for each name of a definition: one LM by itself has none to name."""
    return [
        Fault(
            "unknown-name",
            mention.path,
            f"one LM by itself has no {_FORMS[mention.block][0]} of another name to refer to",
            help=f"write it in place, as `{_FORMS[mention.block][1]}`, or use a profile with `lms`",
        )
        for mention in find_mentions(data)
    ]
