"""What a profile says of how a request is sent."""

from __future__ import annotations

from typing import Annotated, Any

from lmconf.schema import Json, Record, Text
from lmconf.schema.declaration import Spec, operations
from lmconf.schema.frozen import FrozenMap


class TransportSpec(Spec, frozen=True, kw_only=True):
    """Which transport carries the request, and its arguments."""

    use: Annotated[
        str,
        operations(
            Text(what="a transport's name"),
            "`litellm`, a registered name, or `module:attribute` where that is allowed.",
        ),
    ] = "litellm"
    args: Annotated[
        FrozenMap[str, Any],
        operations(Json(mapping=True), "Keyword arguments for the transport."),
    ] = FrozenMap()


def transport_shorthand(short: object) -> dict[str, object] | None:
    """Return the block that a transport's bare name stands for, None for other values."""
    return {"use": short} if isinstance(short, str) else None


TRANSPORT = Record(
    TransportSpec, shorthand=transport_shorthand, short=Text(what="a transport's name")
)
