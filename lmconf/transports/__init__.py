"""How a request is sent: litellm, or a transport that a program registers under a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from lmconf.errors import UsageError
from lmconf.spelling import did_you_mean
from lmconf.transports.contract import REQUEST_ID, Connection, Json, Phases, Request, Transport
from lmconf.transports.failures import Advice, no_advice
from lmconf.transports.specs import TransportSpec

__all__ = [
    "KINDS",
    "REQUEST_ID",
    "Advice",
    "Connection",
    "Factory",
    "Json",
    "Phases",
    "Priced",
    "Request",
    "Transport",
    "make",
    "names",
    "register_transport",
]

Factory: TypeAlias = Callable[[Mapping[str, Any], Advice], Transport]
"""Makes a transport from `transport.args` and the reader of refusals' headers."""


class Priced(Protocol):
    """A transport that knows what answers cost."""

    def cost(
        self, provider: str, model: str, base_model: str | None, response: Json
    ) -> float | None:
        """Return the US dollars that `response` cost, None if that is unknown."""


def _litellm(arguments: Mapping[str, Any], advice: Advice) -> Transport:
    from lmconf.transports.litellm import LiteLLM

    return LiteLLM(arguments, advice)


KINDS: dict[str, Factory] = {"litellm": _litellm}
"""Every transport that a profile may name, by name."""


def register_transport(name: str, factory: Callable[..., Transport]) -> None:
    """Let profiles name a transport of one's own: `transport: {use: name, args: …}`.

    `factory` is called with `transport.args` as keywords when the first request is sent.

    Raises:
        UsageError: the name is taken by a transport that comes with lmconf.
    """
    if name == "litellm":
        raise UsageError("the transport 'litellm' comes with lmconf and cannot be replaced")
    KINDS[name] = lambda arguments, advice: factory(**arguments)


def names() -> tuple[str, ...]:
    """Return the transports that `transport.use` may name."""
    return tuple(KINDS)


def make(spec: TransportSpec, advice: Advice = no_advice) -> Transport:
    """Return a transport as `spec` describes it; nothing is sent or imported yet.

    Raises:
        UsageError: no transport of that name is registered, or its arguments do not fit.
    """
    factory = KINDS.get(spec.use)
    if factory is None:
        near = did_you_mean(spec.use, KINDS)
        meant = f"; did you mean {near!r}?" if near else ""
        raise UsageError(f"no transport is called {spec.use!r}{meant}")
    return factory(spec.args, advice)
