"""What a transport is given and what it owes: one attempt at one request.

A transport sends a request once and returns what came back. It never retries, caches, waits for
a permit or reads the environment: those belong to the layers above it. Whatever goes wrong leaves
it as a `lmconf.errors.CallError`, raised outside of any `except` block, without the credential.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import HiddenValues, Masked

__all__ = [
    "REQUEST_ID",
    "Connection",
    "Json",
    "Phases",
    "Request",
    "Route",
    "Transport",
]

Json = dict[str, Any]
"""A plain JSON object: what the OpenAI API calls a response or a chunk."""

Route = Literal["chat", "text", "responses"]

# The values of `api_type` with which `api_key` is a token, as in the OpenAI SDK before 1.0.
_AZURE_AD_TYPES = ("azure_ad", "azuread")

REQUEST_ID = "_request_id"
"""The key of a response under which a transport may leave the server's request id."""


class Phases(Struct, frozen=True):
    """How long each phase of one attempt may take, in seconds.

    `total` bounds the whole attempt. `first_byte` bounds the time until the answer begins and
    `idle` the time between two pieces of it; None leaves both to `total`.
    """

    total: float = 600.0
    connect: float = 10.0
    first_byte: float | None = None
    idle: float | None = None


class Connection(Masked, Struct, frozen=True, eq=False, kw_only=True):
    """How a server is reached, with every reference resolved. No repr shows its values.

    It holds credentials, and therefore cannot be pickled.

    `base` is always the address that the profile or the provider's definition states. `key` is
    the credential, and `""` means that none is sent. `headers` are sent as they stand. `other`
    holds what only some providers know (`api_version`, `aws_region_name`, …), by field name;
    `places` are those of these names whose values messages may repeat: hosts are made of them.
    `hidden` are further texts that no message may repeat: what stands formatted in a header, or
    in the body.
    """

    base: str | None
    key: str | None = None
    headers: Mapping[str, str] = HiddenValues()
    organization: str | None = None
    project: str | None = None
    other: Mapping[str, str] = HiddenValues()
    places: frozenset[str] = frozenset()
    hidden: tuple[str, ...] = ()

    @property
    def by_azure_token(self) -> bool:
        """Whether the credential is a token of Azure's directory, and no key."""
        return "azure_ad_token" in self.other or self.other.get("api_type") in _AZURE_AD_TYPES

    def __repr__(self) -> str:
        return f"Connection(headers={sorted(self.headers)!r}, other={sorted(self.other)!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a connection holds credentials and is never pickled")

    def secrets(self) -> tuple[str, ...]:
        """Return every text here that no message may repeat."""
        other = [text for name, text in self.other.items() if name not in self.places]
        texts = (self.key, *self.headers.values(), *other, *self.hidden)
        return tuple(dict.fromkeys(text for text in texts if text))


class Request(Masked, Struct, frozen=True, eq=False, kw_only=True):
    """One request, ready to be sent: nothing in it is left to look up.

    `messages` are given for the routes `chat` and `responses`, `prompt` for `text`. `settings`
    are the parameters of the OpenAI API under the names that the model wants; `extra` is merged
    into the body. `provider` and `model` are the two halves of the spec's model. `max_body` is the most
    bytes that the answer may hold, unpacked. `name` is the LM's name in messages.
    """

    route: Route
    provider: str
    model: str
    connection: Connection
    messages: Sequence[Mapping[str, Any]] = ()
    prompt: str | None = None
    settings: Mapping[str, Any] = FrozenMap()
    extra: Mapping[str, Any] = FrozenMap()
    timeout: Phases = Phases()
    max_body: int = 256 * 2**20
    name: str = ""

    def __repr__(self) -> str:
        """Name the model alone: a reference in the body is resolved here."""
        return f"Request({self.provider}/{self.model}, {self.route})"


class Transport(Protocol):
    """What carries a request: the router, or what a program registers.

    Responses and chunks are plain JSON in the OpenAI API's shape: `choices`, `usage`, `model`,
    `id`. A stream yields whole chunks and ends only when the server said that it ended; a stream
    that is cut short raises `BadResponse`. Closing an iterator early frees its connection.

    Every method may be called from several threads and event loops at once.
    """

    def complete(self, request: Request) -> Json:
        """Send `request` once and return the response."""

    async def acomplete(self, request: Request) -> Json:
        """Send `request` once and return the response."""

    def stream(self, request: Request) -> Iterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""

    def astream(self, request: Request) -> AsyncIterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""

    def close(self) -> None:
        """Free what the transport holds; it may be closed more than once."""
