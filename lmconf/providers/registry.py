"""The providers that code registers beside those of the catalogue."""

from __future__ import annotations

import re

from lmconf.errors import UsageError
from lmconf.providers.catalogue import PROVIDERS, is_address, is_loopback
from lmconf.providers.provider import Provider
from lmconf.providers.records import RECORDS
from lmconf.secrets.secret_names import is_secret_name

__all__ = ["find_mistake", "register_provider"]

_BUILT_IN = frozenset(record.name for record in RECORDS)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def register_provider(provider: Provider) -> None:
    """Register a provider for models such as `acme/some-model`.

        lmconf.register_provider(
            lmconf.Provider("acme", "https://api.acme.example/v1", "ACME_API_KEY")
        )

    The record is all that is needed for a server that speaks the OpenAI API. Profiles that name
    the provider are loaded after it is registered. Registering an equal record again has no
    effect.

    Args:
        provider: the record: name, address, variables and what its APIs take.

    Raises:
        UsageError: the name is taken, or the record contradicts itself.
    """
    mistake = find_mistake(provider)
    if mistake:
        raise UsageError(f"the provider {provider.name!r} cannot be registered: {mistake}")
    if provider.name in _BUILT_IN:
        raise UsageError(f"the provider {provider.name!r} comes with lmconf and cannot be replaced")
    if PROVIDERS.setdefault(provider.name, provider) != provider:
        raise UsageError(f"another provider is already registered as {provider.name!r}")


def find_mistake(provider: Provider) -> str:
    """Return what is wrong in a record, "" for nothing."""
    base, key_env, base_env = provider.base, provider.key_env, provider.base_env
    if not _NAME.match(provider.name):
        return "a name holds letters, digits, `_`, `.` and `-`"
    if base is not None and not is_address(base):
        return f"`base` is no address: {base}"
    if base is not None and not base.startswith("https://") and not is_loopback(base):
        return "`base` must begin with `https://`, or lead to this machine"
    if base is not None and base_env is not None:
        return "`base` and `base_env` are both stated"
    for variable in (key_env, base_env):
        if variable is not None and not _VARIABLE.match(variable):
            return f"{variable!r} is no name of an environment variable"
    if key_env is not None and not is_secret_name(key_env):
        return f"`key_env` must read like a secret's name, such as `{key_env}_API_KEY`"
    if key_env is not None and provider.credentials != "key":
        return "`key_env` goes with `credentials='key'` alone"
    if key_env is not None and base is None and base_env is None:
        return "the key of `key_env` has no address to go to: state `base` or `base_env`"
    return ""
