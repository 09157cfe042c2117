"""What the plain data of one LM says, where other fields depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmconf.launchers.specs import LAUNCHER_NAMES
from lmconf.transports.specs import BUILT_IN, TransportSpec

__all__ = ["has_built_in_transport", "launches", "text_of", "transport_of"]

Data = Mapping[str, Any]


def text_of(data: Data, name: str) -> str | None:
    """Return the field `name` if it is a text."""
    value = data.get(name)
    return value if isinstance(value, str) else None


def transport_of(data: Data) -> object:
    """Return the kind of transport that carries the LM's requests."""
    transport = data.get("transport")
    if isinstance(transport, TransportSpec):
        return transport.use
    return transport.get("use", "auto") if isinstance(transport, Mapping) else "auto"


def has_built_in_transport(data: Data) -> bool:
    """Say whether the LM's requests are carried by a transport that comes with lmconf."""
    return transport_of(data) in BUILT_IN


def launches(data: Data) -> bool:
    """Say whether the LM's answers come from a server that lmconf starts."""
    return bool(data.get("launch_kwargs")) or data.get("provider") in LAUNCHER_NAMES[:-1]
