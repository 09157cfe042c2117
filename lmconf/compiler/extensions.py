"""Kinds that an application brings: registered names, and import paths that were allowed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from lmconf import caches
from lmconf.callbacks.record_redaction import ENTRY, why_not
from lmconf.callbacks.specs import CALLBACK_SPECS
from lmconf.compiler.inputs import CompilerInputs
from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.schema.check import Fault
from lmconf.schema.fault import unknown_kind
from lmconf.spec.compiled import CompiledLM
from lmconf.system.imports import is_allowed, is_import_path
from lmconf.system.registry import describe_unknown_kind
from lmconf.transports.specs import BUILT_IN

__all__ = ["find_near_misses", "merge_faults", "unknown_extensions"]

Path = tuple[str | int, ...]

_REDACT = "write a path such as `request.messages.*.content`, or a pattern such as `/secret-\\d+/`"


def unknown_extensions(data: Mapping[str, Any], inputs: CompilerInputs) -> Iterator[Fault]:
    """Yield a fault for each kind in the data of an LM or a profile that nothing provides.

    With `inputs.callback_names` None, names that an application may register later are passed.
    """
    callbacks = data.get("callbacks")
    sequence = callbacks if isinstance(callbacks, list) else []
    items = callbacks.items() if isinstance(callbacks, Mapping) else enumerate(sequence)
    for key, callback in items:
        if isinstance(callback, Mapping):
            path = ("callbacks", key, "use")
            use = callback.get("use")
            names = None if use in CALLBACK_SPECS else inputs.callback_names
            yield from _check_kind(use, path, names, "callback", inputs)
            if callback.get("use") == "jsonl":
                yield from _no_redactions(callback.get("redact"), ("callbacks", key, "redact"))
    transport = data.get("transport")
    if isinstance(transport, Mapping):
        use = transport.get("use")
        transports = None if use in BUILT_IN else inputs.transport_names
        yield from _check_kind(use, ("transport", "use"), transports, "transport", inputs)
    stores = data.get("stores")
    for name, store in stores.items() if isinstance(stores, Mapping) else ():
        yield from _check_store(store, ("stores", name))
    for policy in ("cache", "budget"):
        block = data.get(policy)
        if isinstance(block, Mapping):
            yield from _check_store(block.get("store"), (policy, "store"))


def _check_store(store: object, path: Path) -> Iterator[Fault]:
    kind = store.get("backend") if isinstance(store, Mapping) else None
    if isinstance(kind, str) and kind not in caches.REGISTRY.names():
        yield unknown_kind(caches.REGISTRY.unknown(kind), (*path, "backend"))
    elif isinstance(kind, str) and kind not in caches.KINDS and path[0] == "budget":
        yield Fault(
            "contradiction",
            (*path, "backend"),
            f"a store of the kind `{kind}` cannot keep what is spent",
            help="use `disk` or `redis`",
        )


def find_near_misses(compiled: CompiledLM) -> Iterator[Diagnostic]:
    """Yield a warning for each kind that is one slip away from one that comes with lmconf.

    For where nobody knows what an application will register: it may be its own, and seldom is.
    """
    spec = compiled.spec
    kinds: list[tuple[str, Path, str, Collection[str]]] = [
        (callback.use, ("callbacks", index, "use"), "callback", CALLBACK_SPECS)
        for index, callback in enumerate(spec.callbacks)
        if not isinstance(callback, str)
    ]
    kinds.append((spec.transport.use, ("transport", "use"), "transport", BUILT_IN))
    for kind, path, what, built_in in kinds:
        near = None if kind in built_in else did_you_mean(kind, sorted({*built_in} - {"*"}))
        if near is None or abs(len(near) - len(kind)) > 1:
            continue
        yield Diagnostic(
            code="unknown-kind",
            severity="warning",
            message=f"no {what} of the kind `{kind}` comes with lmconf",
            mark=compiled.place(*path),
            path=path,
            label=f"did you mean `{near}`?",
            help=f"one of your own is registered with `lmconf.register_{what}`, by the program that"
            " loads this",
        )


def _no_redactions(entries: object, path: Path) -> Iterator[Fault]:
    for index, entry in enumerate(entries if isinstance(entries, list | tuple) else ()):
        # What does not even look like one is told of as any text is that does not fit.
        why = why_not(entry) if isinstance(entry, str) and re.match(ENTRY, entry) else None
        if why is not None:
            yield Fault("bad-redaction", (*path, index), why, help=_REDACT)


def merge_faults(faults: Iterable[Fault], kinds: Iterable[Fault]) -> list[Fault]:
    """Return all faults, without the unknown keys of blocks whose kind is not known either.

    Args:
        faults: what is wrong with the fields of blocks.
        kinds: what is wrong with the kinds of blocks.
    """
    unknown = list(kinds)
    blocks = {fault.path[:-1] for fault in unknown if fault.code == "unknown-kind"}
    others = [
        fault for fault in faults if fault.code != "unknown-key" or fault.path[:-1] not in blocks
    ]
    return [*others, *unknown]


def _check_kind(
    kind: object, path: Path, names: Collection[str] | None, what: str, inputs: CompilerInputs
) -> Iterator[Fault]:
    if not isinstance(kind, str):
        return
    if ":" in kind:
        if not is_import_path(kind):
            yield Fault(
                "bad-import-path",
                path,
                f"`{kind}` is not an import path",
                help="an import path is `module:attribute`, such as `acme.hooks:CostMeter`",
            )
        elif not is_allowed(kind, inputs.allow_imports):
            yield Fault(
                "import-not-allowed",
                path,
                f"`{kind}` names code, and importing it is not allowed",
                help=f'pass `allow_imports=["{kind}"]` or `--allow-import {kind}`, or list it in'
                " pyproject.toml under [tool.lmconf] allow-imports",
            )
    elif names is not None and kind not in names:
        yield unknown_kind(describe_unknown_kind(what, kind, sorted({*names} - {"*"})), path)
