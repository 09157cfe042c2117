"""What carries the requests of an LM and of its copies: made once, closed when none needs it."""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Mapping

from lmconf import transports
from lmconf.retries.policy import parse_retry_after
from lmconf.runtime.connection import resolve_arguments
from lmconf.spec.compiled import CompiledLM
from lmconf.system.refcount import SharedResource
from lmconf.transports import Transport

__all__ = ["LazyTransport"]


class LazyTransport(SharedResource):
    """A transport that is made when the first request is sent."""

    def __init__(self, compiled: CompiledLM) -> None:
        super().__init__()
        self._compiled = compiled
        self._transport: Transport | None = None
        self._at_exit: weakref.finalize[[], LazyTransport] | None = None

    @property
    def transport(self) -> Transport:
        """What carries the requests, made now if it was not yet."""
        transport = self._transport
        if transport is None:
            with self.lock:
                transport = self._transport
                if transport is None:
                    values = functools.partial(
                        resolve_arguments, self._compiled, ("transport", "args")
                    )
                    spec = self._compiled.spec.transport
                    transport = self._transport = transports.make(
                        spec, _advice, values=values, allow_imports=self._compiled.allow_imports
                    )
                    self._at_exit = weakref.finalize(self, transport.close)
        return transport

    def fits(self, compiled: CompiledLM) -> bool:
        """Say whether the LM of `compiled` wants this very transport."""
        if compiled.spec.transport != self._compiled.spec.transport:
            return False
        return _given_arguments(compiled) == _given_arguments(self._compiled)

    @property
    def opened(self) -> Transport | None:
        """What carries the requests, if any was sent yet."""
        return self._transport

    def end(self) -> None:
        """Close the transport."""
        transport = self._take_transport()
        if transport is not None:
            transport.close()

    async def aend(self) -> None:
        """Close the transport from an event loop, whose connections are closed when it returns."""
        transport = self._take_transport()
        if transport is None:
            return
        close = getattr(transport, "aclose", None)
        if callable(close):
            await close()
        else:
            import asyncio  # only who runs an event loop needs it

            await asyncio.to_thread(transport.close)

    def _take_transport(self) -> Transport | None:
        with self.lock:
            transport, self._transport = self._transport, None
            if self._at_exit is not None:
                self._at_exit.detach()
            return transport


def _given_arguments(compiled: CompiledLM) -> dict[str, str]:
    """Return what of the transport's arguments was given in code."""
    return {name: text for name, text in compiled.given.items() if name.startswith("transport")}


def _advice(status: int, headers: Mapping[str, str]) -> tuple[float | None, bool | None]:
    """Read from a refusal's headers how long to wait, and whether to try again."""
    hints = {name.lower(): value.strip().lower() for name, value in headers.items()}
    again = {"true": True, "false": False}.get(hints.get("x-should-retry", ""))
    return parse_retry_after(headers, time.time()), again
