"""How a request is sent: by lmconf's client, LiteLLM, or a transport that a program or package brings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, overload

from lmconf.errors import UsageError
from lmconf.schema.frozen import thaw
from lmconf.system.imports import import_path
from lmconf.system.interrupts import run_shielded
from lmconf.system.registry import Registry, import_attribute
from lmconf.transports.connection_state import Cancellation, use_cancellation
from lmconf.transports.custom import chunks_of
from lmconf.transports.specs import BUILT_IN, TransportSpec
from lmconf.transports.status_errors import Advice, no_advice
from lmconf.transports.transport import REQUEST_ID, Connection, Json, Phases, Request, Transport

if TYPE_CHECKING:
    from lmconf.transports.custom import Own

__all__ = [
    "KINDS",
    "REGISTRY",
    "REQUEST_ID",
    "Advice",
    "Cancellation",
    "Connection",
    "Factory",
    "Json",
    "Phases",
    "PricingTransport",
    "Request",
    "Transport",
    "chunks_of",
    "make",
    "register_transport",
    "unregister_transport",
    "use_cancellation",
]

Factory: TypeAlias = Callable[[Mapping[str, Any], Advice], Transport]
"""Makes a transport from `transport.args` and the reader of refusals' headers."""


class PricingTransport(Protocol):
    """A transport that knows what answers cost."""

    def cost(
        self, provider: str, model: str, base_model: str | None, response: Json
    ) -> float | None:
        """Return the US dollars that `response` cost, None if that is unknown."""


def _router(use: str) -> Factory:
    def make_router(arguments: Mapping[str, Any], advice: Advice) -> Transport:
        # An interrupt of the first call leaves no module half imported.
        found: Any = run_shielded(lambda: import_module("lmconf.transports.router"))
        made: Transport = found.Router(use, arguments, advice)
        return made

    return make_router


KINDS: dict[str, Factory] = {use: _router(use) for use in BUILT_IN}
"""The transports that come with lmconf, by name."""


def _check(own: object, kind: str, name: str) -> None:
    from lmconf.transports.custom import check_methods

    check_methods(own, name)


REGISTRY = Registry("transport", KINDS, resolve=import_attribute, check=_check)


F = TypeVar("F", bound="Callable[..., Own]")


@overload
def register_transport(name: str, factory: Callable[..., Own]) -> None: ...
@overload
def register_transport(name: str) -> Callable[[F], F]: ...
def register_transport(
    name: str, factory: Callable[..., Own] | None = None
) -> Callable[[F], F] | None:
    """Register a custom transport for `transport: {use: name, args: …}` in profiles.

    Without a factory, it is a decorator:

        @lmconf.register_transport("echo")
        class Echo:
            def complete(self, request):
                return request.messages[-1]["content"]

    Args:
        name: letters, digits, `_` and `-`.
        factory: a class or function that is called with `transport.args` as keywords when the
            first request is sent. What it returns needs `complete(request)` or `acomplete` only;
            see `docs/custom-lms.md`.

    Returns:
        None, or without a factory a decorator that returns what it decorates.

    Raises:
        UsageError: the name is not valid or is taken, or the factory is not callable.
    """
    if factory is not None:
        REGISTRY.register(name, factory)
        return None

    def decorate(decorated: F) -> F:
        REGISTRY.register(name, decorated)
        return decorated

    return decorate


def unregister_transport(name: str) -> None:
    """Remove a registered transport.

    Args:
        name: the transport's name. A name that is not registered has no effect.
    """
    REGISTRY.unregister(name)


def make(
    spec: TransportSpec,
    advice: Advice = no_advice,
    *,
    values: Callable[[Mapping[str, Any]], Mapping[str, Any]] = thaw,
    allow_imports: frozenset[str] = frozenset(),
) -> Transport:
    """Return a transport as `spec` describes it; nothing is sent yet.

    `values` returns the arguments with their references resolved. `allow_imports` lists the
    import paths that `use` may name.

    Raises:
        ProfileError: the import path is not allowed, or leads nowhere.
        UsageError: no transport of that name is registered, or its arguments do not fit.
    """
    factory = KINDS.get(spec.use)
    if factory is not None:
        return factory(values(spec.args), advice)
    arguments = functools.partial(values, spec.args)
    if ":" in spec.use:
        own = REGISTRY.make_by(import_path(spec.use, allow_imports), spec.use, arguments)
    else:
        own = REGISTRY.make(spec.use, arguments)
    if own is None:
        raise UsageError(str(REGISTRY.unknown(spec.use)))
    from lmconf.transports.custom import complete_transport

    return complete_transport(own, spec.use)
