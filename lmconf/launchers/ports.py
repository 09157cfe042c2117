"""Ports that a server is to listen on: whether one is free, and how a free one stays free."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lmconf.errors import LaunchError

__all__ = ["address", "check_port", "reserved"]


def address(host: str, port: int) -> str:
    """Return the origin under which a server that listens on `host` is asked from here."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - read, not bound
    named = everywhere.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{named}:{port}"


def check_port(host: str, port: int) -> None:
    """See that nothing else listens on `host`:`port`.

    Raises:
        LaunchError: the port is taken, or the host is not an address of this machine.
    """
    with _bound(host, port) as probe:
        try:
            probe.listen(1)
        except OSError as error:
            problem = _told(host, port, error)
        else:
            return
    raise LaunchError(problem)


@contextmanager
def reserved(host: str, *, hold: bool = True) -> Iterator[int]:
    """Return a free port that nobody else is given before the block ends.

    On Linux a socket stays bound to it meanwhile: the kernel hands the port to no one who asks
    for a free one, and a server that sets SO_REUSEADDR or SO_REUSEPORT, as they do, may listen
    on it.
    Without `hold`, and on other systems, it is let go of at once, and who is quick may take it.

    Raises:
        LaunchError: the host is not an address of this machine.
    """
    with _bound(host, 0, hold=hold) as found:
        port: int = found.getsockname()[1]
        if not (hold and sys.platform == "linux"):
            found.close()
        yield port


@contextmanager
def _bound(host: str, port: int, *, hold: bool = False) -> Iterator[socket.socket]:
    problem = ""
    opened = None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
        # Connections of an earlier server that still fade out do not take a port.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hold and hasattr(socket, "SO_REUSEPORT"):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(place)
    except socket.gaierror:
        problem = f"{host!r} is not a host that is known here"
    except OSError as error:
        problem = _told(host, port, error)
    if problem:
        if opened is not None:
            opened.close()
        raise LaunchError(problem)
    assert opened is not None
    with opened:
        yield opened


def _told(host: str, port: int, error: OSError) -> str:
    taken = error.errno == errno.EADDRINUSE
    what = "is taken: choose another, or 0 for a free one" if taken else str(error.strerror)
    return f"port {port} on {host} {what}"
