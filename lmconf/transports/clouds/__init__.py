"""Providers that are reached by a cloud's own credential: where, and how it is put on a request.

Their SDKs are asked for a credential alone; none of them sends a request of ours.
"""

from __future__ import annotations

from collections.abc import Callable

from lmconf.providers.catalogue import record_of
from lmconf.transports.clouds.credentials import CloudRoute, afind_route, find_route
from lmconf.transports.transport import Request

__all__ = ["CloudRoute", "afind_route", "find_route", "route_to"]


def route_to(request: Request, *, streaming: bool) -> Callable[[], CloudRoute] | None:
    """Return what finds the way to the server of `request`; None: its connection says it all.

    Calling it may read files and ask a cloud for a token, and raises `CallError`.
    """
    cloud = record_of(request.provider).cloud
    if cloud == "aws":
        from lmconf.transports.clouds import aws

        return lambda: aws.find_route(request, streaming=streaming)
    if cloud == "google":
        from lmconf.transports.clouds import google

        return lambda: google.find_route(request)
    if cloud == "databricks" and request.connection.base is None:
        from lmconf.transports.clouds import databricks

        return lambda: databricks.find_route(request)
    return None
