"""The router: lmconf's own client for servers that speak the OpenAI API, LiteLLM for the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lmconf.errors import BadRequest, UsageError
from lmconf.providers.routes import find_obstacle, has_completions, is_own
from lmconf.system.interrupts import run_shielded
from lmconf.transports.http.direct_transport import Direct
from lmconf.transports.litellm.clients import Clients
from lmconf.transports.openai.chat import ChatApi
from lmconf.transports.openai.responses import ResponsesApi
from lmconf.transports.status_errors import Advice, no_advice
from lmconf.transports.transport import Json, Request

if TYPE_CHECKING:
    from lmconf.transports.litellm.adapter import LiteLLM

__all__ = ["Router"]


class Router:
    """Sends each request with the client that supports it.

    Args:
        use: `auto` chooses for each request; `openai` and `litellm` send all by the one.
        arguments: Further keywords for LiteLLM's functions.
        advice: Reads from a refusal's headers whether and when to try again.

    Raises:
        UsageError: There are arguments, and nothing goes through LiteLLM; or one of them has a
            place of its own in a profile.
    """

    def __init__(self, use: str, arguments: Mapping[str, Any], advice: Advice = no_advice) -> None:
        self._use = use
        self._arguments = arguments
        self._advice = advice
        self._clients = Clients()
        self._chat = Direct(ChatApi(), self._clients, advice)
        self._responses = Direct(ResponsesApi(), self._clients, advice)
        self._litellm: LiteLLM | None = self._make_litellm() if arguments else None

    def complete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
        return self._carrier(request).complete(request)

    async def acomplete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
        return await self._carrier(request).acomplete(request)

    def stream(self, request: Request) -> Iterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""
        return self._carrier(request).stream(request)

    def astream(self, request: Request) -> AsyncIterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""
        return self._carrier(request).astream(request)

    def cost(
        self, provider: str, model: str, base_model: str | None, response: Json
    ) -> float | None:
        """Return what `response` cost in US dollars by LiteLLM's price table, None if unknown."""
        from lmconf.providers.prices import cost  # the table is read where prices are asked

        return cost(provider, model, base_model, response)

    def close(self) -> None:
        """Close the connections that are kept open between calls."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close them, and wait until those of the running event loop are closed."""
        await self._clients.aclose()

    def _carrier(self, request: Request) -> Direct | LiteLLM:
        """Return what sends `request`.

        Raises:
            BadRequest: Nothing can.
            UsageError: There are arguments for LiteLLM, which is not asked.
        """
        provider, route = request.provider, request.route
        obstacle = find_obstacle(provider, route, self._use)
        if obstacle:
            raise BadRequest(
                f"`transport: {self._use}` cannot carry this request: {obstacle}",
                help="write `transport: auto`",
            )
        if not is_own(provider, route, self._use):
            if route == "text" and not has_completions(provider):
                raise BadRequest(f"{provider}/ has no API for completions that is known here")
            if self._litellm is None:
                self._litellm = self._make_litellm()
            return self._litellm
        if self._arguments:
            raise UsageError(
                f"transport.args: requests to {provider}/ are sent as they are stated, and do not go"
                " through litellm"
            )
        return self._responses if route == "responses" else self._chat

    def _make_litellm(self) -> LiteLLM:
        # An interrupt of the first call leaves no module half imported.
        module: Any = run_shielded(lambda: import_module("lmconf.transports.litellm.adapter"))
        transport: LiteLLM = module.LiteLLM(self._arguments, self._clients, self._advice)
        return transport
