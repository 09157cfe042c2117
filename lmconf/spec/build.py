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
from lmconf.schema.check import Fault, check
from lmconf.schema.construct import build
from lmconf.schema.declaration import field_names, fields
from lmconf.schema.frozen import FrozenMap, freeze
from lmconf.schema.lookup import UnreadableValue
from lmconf.schema.shapes import Record
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
def make_from_stated(state: Mapping[str, Any], *, name: str | None = None) -> CompiledLM:
    """Return the LM that `state`, plain data as a document spells it, describes.

    Unlike in `make_lm`, a literal secret is a mistake.
    """
    root = _recognise_plain(state, mark := Mark(Source("the state")))
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
    plain, secrets, live, unset = split_settings(settings)
    mark = Mark(Source("copy(…)"))
    lower = _recognise_plain(compiled.stated, Mark(Source(compiled.name)))
    base = Map({key: node for key, node in lower if key not in unset}, lower.keys, lower.mark)
    base = without_credentials(base) if elsewhere else base
    diagnostics: list[Diagnostic] = []
    root = settle(
        fold([base, _settings_root(plain, mark)], _RULES), diagnostics, usual=_RULES.usual
    )
    kept_from_lower = node_identities(lower)
    statements = tuple(
        Statement(path, node, lower if id(node) in kept_from_lower else root)
        for path, node in leaves_of(root)
    )
    diagnostics += find_crossed(
        StatedValue(statements, unset=mark if "api_base" in lower else None), root
    )
    if diagnostics:
        raise ProfileError(diagnostics)
    objects = live if "callbacks" in settings else compiled.live
    result = _compile(root, {**compiled.given, **secrets}, objects, compiled.name, mark)
    # What was not said anew still stands where it stood.
    places = {
        path: place
        for path, place in compiled.places.items()
        if not path or (path[0] not in settings and path[0] in result.stated)
    }
    return structs.replace(
        result,
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
    names = [name for name in settings if name in fields(LMSpec) and name not in CALL_FIELDS]
    if names:
        raise UsageError(
            f"`{names[0]}` belongs to the LM and cannot change in one call:"
            f" use lm.copy({names[0]}=…)"
        )
    cache = settings.get("cache")
    if isinstance(cache, Mapping) and cache.get("store", {}) != {}:
        raise UsageError(
            "`cache.store` belongs to the LM and cannot change in one call: use lm.copy(cache=…)"
        )
    mark = Mark(Source("this call"))
    plain, secrets, _, _ = split_settings(settings)
    if secrets:
        raise UsageError(
            f"`{next(iter(secrets))}` is a secret: pass it with lm.copy(…), not in a call"
        )
    layer = _settings_root(plain, mark, for_one_call=True)
    # Blocks merge as they do between files; what goes into the request's body replaces.
    below = {key: compiled.stated[key] for key in plain if key in _BLOCKS & compiled.stated.keys()}
    lower = _recognise_plain(below, Mark(Source(compiled.name)))
    diagnostics: list[Diagnostic] = []
    root = settle(fold([lower, layer], _RULES), diagnostics, usual=_RULES.usual)
    if diagnostics:
        raise ProfileError(diagnostics)
    node = with_absolute_paths(root, LM, str(FilePath.cwd()))
    data = to_data(node)
    assert isinstance(data, Mapping)
    if not data:
        return compiled.spec
    faults = check(LM, data, partial=True)
    spec = compiled.spec
    if not faults:
        declared = fields(LMSpec)
        values = {key: build(declared[key].shape, value) for key, value in data.items()}
        spec = _with_defaults(compiled, msgspec.structs.replace(spec, **values), plain.keys())
        rule_data = {key: getattr(spec, key) for key in _RULED}
        faults = [
            own_fault
            for fault in check_lm({**rule_data, "api_key": ""})
            if (own_fault := _of_call(fault, data)) is not None
        ]
    if faults:
        raise ProfileError(to_diagnostics(faults, node))
    return spec


def _with_defaults(compiled: CompiledLM, spec: LMSpec, names: Collection[str]) -> LMSpec:
    """Return `spec`, that of a call, with the defaults that the call's settings, `names`, decide."""
    if not DECIDING.intersection(names):
        return spec
    family = family_of(spec.model, spec.base_model)
    before, after = (
        {name: getattr(each, name) for name in DECIDING} for each in (compiled.spec, spec)
    )
    defaults = {
        name: default_of(family, name, after)
        for name in DEFAULTED
        if name not in names
        and name not in compiled.stated
        and getattr(spec, name) == default_of(family, name, before)
    }
    return structs.replace(spec, **defaults)


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
    others: Mapping[str, object] = FrozenMap(),
) -> tuple[dict[str, Any], list[Fault]]:
    """Return the plain data of one LM, completed by what its model decides, and its faults.

    `node` is normalised, settled and rendered; `soft` names the fields that came from `defaults`.
    An `abstract` LM need not have a model, and is not completed. `others` is the data of the other
    LMs, which a pool may have as members.
    """
    data = to_data(node)
    assert isinstance(data, dict)
    member_fields: frozenset[str] = frozenset()
    if is_pool(data) and not abstract:
        data, member_fields = complete_pool(data, soft, lambda item: _member(item, others))
    faults = name_usual_variable(check(LM, data, partial=abstract), data)
    if member_fields:
        # What is wrong with a member is told there.
        faults = [
            fault
            for fault in faults
            if not (fault.path and fault.path[0] in member_fields)
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


def _member(item: object, others: Mapping[str, object]) -> Mapping[str, Any] | None:
    """Return the data of a pool's member, None where it has no model to go by."""
    member = others.get(item) if isinstance(item, str) else item
    if not isinstance(member, Mapping) or not isinstance(member.get("model"), str):
        return None
    return complete_lm(member)


def _below(fault: Fault, path: Path) -> Fault:
    return structs.replace(fault, path=(*path, *fault.path))


def _compile_statement(
    plain: dict[str, Any],
    secrets: dict[str, str],
    live: tuple[object, ...],
    unset: list[str],
    *,
    name: str | None,
) -> CompiledLM:
    mark = Mark(Source("lmconf.LM(…)"))
    if plain.get("lmconf") == FORMAT_VERSION:
        document = {key: value for key, value in plain.items() if key != "lmconf"}
        return _compile(_recognise_plain(document, mark), secrets, live, name, mark)
    return _compile(_settings_root(plain, mark), secrets, live, name, mark)


def _settings_root(plain: Mapping[str, Any], mark: Mark, *, for_one_call: bool = False) -> Map:
    """Return the node of `plain`, settings given in code as plain data.

    Raises:
        ProfileError, UsageError: it does not fit.
    """
    diagnostics: list[Diagnostic] = []
    root = normalise(settings_node(plain, mark, diagnostics, for_one_call=for_one_call), _RULES)
    if diagnostics:
        raise ProfileError(diagnostics)
    return root


def _recognise_plain(plain: Mapping[str, Any], mark: Mark) -> Map:
    diagnostics: list[Diagnostic] = []
    try:
        root = from_plain(plain, mark)
    except TypeError as error:
        raise UsageError(f"{mark.source.name}: {error}") from None
    assert isinstance(root, Map)
    recognised = normalise(recognise_operators(root, diagnostics), _RULES)
    if diagnostics:
        raise ProfileError(diagnostics)
    return recognised


def _compile(
    root: Map, secrets: Mapping[str, str], live: tuple[object, ...], name: str | None, mark: Mark
) -> CompiledLM:
    diagnostics: list[Diagnostic] = []
    # A block may have become empty by what was unset in it.
    settled = normalise(settle(root, diagnostics, usual=_RULES.usual), _RULES)
    whole = with_absolute_paths(settled, LM, str(FilePath.cwd()))
    assert isinstance(whole, Map)
    data, faults = complete_data(whole)
    faults += [fault for fault in _names_in(data) if not faults]
    diagnostics += to_diagnostics(faults, whole)
    if diagnostics or any(isinstance(value, Broken) for _, value in whole):
        raise ProfileError(diagnostics)
    spec = build(LM, data)
    state = to_plain(whole)
    names = set(given_names(data))
    assert isinstance(spec, LMSpec)
    return CompiledLM(
        spec=spec,
        name=name or spec.model,
        stated=freeze(state),
        given=HiddenValues({key: value for key, value in secrets.items() if key in names}),
        live=live,
    )


_FORMS = {
    "stores": ("store", "{backend: disk}"),
    "callbacks": ("callback", "{use: …}"),
    "lms": ("LM", "{model: …}"),
}


def _names_in(data: Mapping[str, Any]) -> list[Fault]:
    """Return a fault for each name of a definition: a single LM has none to name."""
    return [
        Fault(
            "unknown-name",
            mention.path,
            f"a single LM has no {_FORMS[mention.block][0]} of another name to refer to",
            help=f"write it in place, as `{_FORMS[mention.block][1]}`, or use a profile with `lms`",
        )
        for mention in find_mentions(data)
    ]
