"""Databricks by its SDK: the workspace and the credential of this machine's configuration."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import httpx
from msgspec.structs import replace

from lmconf.errors import AuthenticationFailed
from lmconf.transports.clouds.credentials import CloudRoute, CredentialCache, Sign, missing, refusal
from lmconf.transports.transport import Request

if TYPE_CHECKING:
    from databricks.sdk.core import Config

__all__ = ["find_route"]

_HELP = (
    "set DATABRICKS_API_BASE and DATABRICKS_API_KEY, or sign in with the SDK's own ways"
    " (`databricks auth login`, DATABRICKS_HOST and DATABRICKS_TOKEN)"
)


def find_route(request: Request) -> CloudRoute:
    """Return the way to the workspace that the SDK's configuration names.

    Raises:
        CallError: it names none, or a credential cannot be had.
    """
    failure: AuthenticationFailed
    try:
        config = _config()
        headers = config.authenticate()  # renews an expired token, once for all threads
        host = str(config.host)
    except ImportError:
        raise missing("databricks", "databricks-sdk", "databricks") from None
    except Exception as error:  # noqa: BLE001 - the SDK raises many kinds of errors
        failure = refusal(error, (), _HELP)
    else:
        connection = replace(request.connection, base=f"{host.rstrip('/')}/serving-endpoints")
        return CloudRoute(
            request=replace(request, connection=connection),
            sign=_sign_with(headers),
            secrets=tuple(word for text in headers.values() for word in text.split()[-1:]),
        )
    raise failure


@functools.cache
def _config_cache() -> CredentialCache[Config]:
    # The configuration is the machine's.
    return CredentialCache()


def _config() -> Config:
    from databricks.sdk.core import Config

    said = sorted((k, v) for k, v in os.environ.items() if k.startswith(("DATABRICKS_", "ARM_")))
    return _config_cache().get(said, Config)


def _sign_with(headers: dict[str, str]) -> Sign:
    def sign(request: httpx.Request) -> dict[str, str]:
        return dict(headers)

    return sign
