"""The catalogue of providers, and what names and addresses say.

The records are ours so that checking and cache hits never import LiteLLM.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from lmconf.providers.provider import Provider
from lmconf.providers.records import RECORDS

__all__ = [
    "NOWHERE",
    "PROVIDERS",
    "Provider",
    "is_address",
    "is_loopback",
    "origin",
    "provider_of",
    "record_of",
]

NOWHERE = "https://fake.invalid"
"""The address of fakes: no server has this name (RFC 6761, 6.4), and nothing is sent there."""

PROVIDERS: dict[str, Provider] = {record.name: record for record in RECORDS}
"""Every provider that a model's name may begin with; `register_provider` adds to them."""


def record_of(name: str) -> Provider:
    """Return the record of the provider `name`; one that says nothing where there is none."""
    return PROVIDERS.get(name, _UNKNOWN)


# LiteLLM may know it all the same: a transport of one's own hands on what it is given.
_UNKNOWN = Provider("", credentials="unknown", chat=None)


def provider_of(model: str) -> tuple[str, str]:
    """Return the provider and the provider's own name of `model`: the text around its first `/`.

    A model without a `/` has the provider `""`.
    """
    provider, slash, name = model.partition("/")
    return (provider, name) if slash else ("", model)


def origin(address: str) -> str:
    """Return scheme, host and port of `address` in lower case, without credentials or path.

    It is empty where `address` is none.
    """
    if not is_address(address):
        return ""
    parts = urlsplit(address)
    host = (parts.hostname or "").lower()
    # Without its brackets an IPv6 address would swallow a port.
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port is not None else ""
    return f"{parts.scheme.lower()}://{host}{port}"


def is_address(address: str) -> bool:
    """Say whether `address` names a host, and a port that there can be."""
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def is_loopback(address: str) -> bool:
    """Say whether `address` names this machine: localhost, 127.0.0.0/8 or ::1.

    A name that only begins like such a number, as `127.0.0.1.example`, leads anywhere.
    """
    if not is_address(address):
        return False
    host = (urlsplit(address).hostname or "").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
