"""Who receives the events of calls: the log, a file of records, or a callback of one's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from lmconf.callbacks.dispatcher import Dispatcher
from lmconf.callbacks.events import (
    METHODS,
    Attempt,
    CacheHit,
    CacheMiss,
    Callback,
    CallbackWarning,
    Deferred,
    End,
    Event,
    Failure,
    Fallback,
    FirstToken,
    LimitWait,
    Retry,
    Start,
)
from lmconf.callbacks.specs import (
    CallbackSpec,
    CustomCallback,
    JsonlCallback,
    LiteLLMLogger,
    LogCallback,
    MeterCallback,
    OtelCallback,
)
from lmconf.diagnostics.model import Diagnostic
from lmconf.errors import ProfileError
from lmconf.schema.frozen import thaw
from lmconf.system.imports import check_allowed, import_path
from lmconf.system.registry import Registry, import_attribute

__all__ = [
    "KINDS",
    "METHODS",
    "REGISTRY",
    "Attempt",
    "CacheHit",
    "CacheMiss",
    "Callback",
    "CallbackWarning",
    "Deferred",
    "Dispatcher",
    "End",
    "Event",
    "Failure",
    "Fallback",
    "FirstToken",
    "LimitWait",
    "Retry",
    "Start",
    "make",
    "register_callback",
    "unregister_callback",
]


def _log(spec: CallbackSpec) -> Callback:
    from lmconf.callbacks import log

    assert isinstance(spec, LogCallback)
    return log.LogCallback(spec.level)


def _jsonl(spec: CallbackSpec) -> Callback:
    from lmconf.callbacks import jsonl

    assert isinstance(spec, JsonlCallback)
    return jsonl.JsonlCallback(
        spec.path,
        content=spec.content,
        max_size=spec.max_size,
        keep=spec.keep,
        redact=spec.redact,
    )


def _otel(spec: CallbackSpec) -> Callback:
    from lmconf.callbacks import otel

    assert isinstance(spec, OtelCallback)
    return otel.OtelCallback(content=spec.content)


def _meter(spec: CallbackSpec) -> Callback:
    from lmconf.callbacks import meter

    assert isinstance(spec, MeterCallback)
    return meter.MeterCallback(spec.path)


def _litellm(spec: CallbackSpec, litellm: Callable[[], object] | None = None) -> Callback:
    from lmconf.callbacks import litellm_logger

    assert isinstance(spec, LiteLLMLogger)
    if litellm is None:
        return litellm_logger.LiteLLMCallback(spec.args.name)
    return litellm_logger.LiteLLMCallback(spec.args.name, litellm)


KINDS: dict[str, Callable[[CallbackSpec], Callback]] = {
    "log": _log,
    "jsonl": _jsonl,
    "otel": _otel,
    "meter": _meter,
    "litellm_logger": _litellm,
}
"""How a callback of each built-in kind is made; making one opens nothing."""

REGISTRY = Registry("callback", KINDS, resolve=import_attribute)


def register_callback(name: str, factory: Callable[..., object]) -> None:
    """Register a kind of callback for `use: <name>` in profiles.

    Args:
        name: letters, digits, `_` and `-`.
        factory: a class or function that is called with the callback's `args` as keywords and
            returns the callback.

    Raises:
        UsageError: the name is not valid, is a built-in kind or belongs to another factory, or
            the factory is not callable.
    """
    REGISTRY.register(name, factory)


def unregister_callback(name: str) -> None:
    """Remove a registered callback.

    Args:
        name: the callback's name. A name that is not registered has no effect.
    """
    REGISTRY.unregister(name)


def make(
    spec: CallbackSpec,
    *,
    allow_imports: frozenset[str] = frozenset(),
    values: Callable[[Mapping[str, Any]], Mapping[str, Any]] = thaw,
    litellm: Callable[[], object] | None = None,
) -> Callback:
    """Return the callback that `spec` describes; nothing is imported, opened or written yet.

    `allow_imports` lists the import paths that `use` may name: `module:attribute`, `module` or
    `package.*`. What a profile names by itself is made when the first call begins; `values` then
    returns its arguments with their references resolved. `litellm` imports LiteLLM, for its loggers.

    Raises:
        ProfileError: the import path is not allowed, or the name is not registered.
        UsageError: the kind needs a package that is not installed.
    """
    if isinstance(spec, LiteLLMLogger) and litellm is not None:
        return _litellm(spec, litellm)
    if spec.use in KINDS:
        return KINDS[spec.use](spec)
    assert isinstance(spec, CustomCallback)
    use, arguments = spec.use, functools.partial(values, spec.args)
    if ":" in use:
        check_allowed(use, allow_imports)
        return Deferred(
            use, lambda: REGISTRY.make_by(import_path(use, allow_imports), use, arguments)
        )
    if use not in REGISTRY.names():
        message, label, help_ = REGISTRY.unknown(use)
        raise ProfileError(
            [Diagnostic(code="unknown-kind", message=message, label=label, help=help_)]
        )
    return Deferred(use, lambda: REGISTRY.make(use, arguments))
