"""What the plain data of one LM says, where other fields depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmconf import launchers, trainers
from lmconf.launchers.specs import LAUNCHER_NAMES
from lmconf.trainers.specs import TRAINER_NAMES
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
    provider = data.get("provider")
    return bool(data.get("launch_kwargs")) or (provider != "command" and is_launcher(provider))


def is_launcher(provider: object) -> bool:
    """Say whether `provider` is a kind of launcher."""
    if provider in TRAINER_NAMES and provider not in LAUNCHER_NAMES:
        return False  # no entry points are listed for what is known
    return isinstance(provider, str) and provider in launchers.REGISTRY.names()


def is_trainer(provider: object) -> bool:
    """Say whether `provider` is a kind of trainer."""
    if provider in LAUNCHER_NAMES and provider not in TRAINER_NAMES:
        return False
    return isinstance(provider, str) and provider in trainers.REGISTRY.names()
