"""Ports that a server is to listen on: whether one is free, and how a free one stays free."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lmconf.errors import LaunchError
from lmconf.launchers.folders import state_folder
from lmconf.launchers.records import running_records

__all__ = ["address", "claim_port", "reserve_port"]


def address(host: str, port: int) -> str:
    """Return the origin under which a server that listens on `host` is asked from here."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - read, not bound
    name = everywhere.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


@contextmanager
def claim_port(host: str, port: int) -> Iterator[None]:
    """See that nothing else listens on `host`:`port`, nor is about to, before the block ends.

    Two of this user's processes that start servers on one port would otherwise both find it free,
    and the slower one take the server of the other for its own.

    Raises:
        LaunchError: the port is taken, or the host is not an address of this machine.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = state_folder() / "ports"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            claim = stack.enter_context((folder / str(port)).open("ab"))
        except OSError:
            claim = None  # nowhere to meet
        is_taken = claim is not None and not _try_lock(claim.fileno())
        if is_taken:
            raise LaunchError(f"port {port} on {host} is taken: a server is being started on it")
        _check(host, port)
        yield


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check(host: str, port: int) -> None:
    with _bind(host, port) as probe:
        try:
            probe.listen(1)
        except OSError as error:
            problem = _explain_bind_error(host, port, error)
        else:
            return
    raise LaunchError(problem)


@contextmanager
def reserve_port(host: str, *, hold: bool = True) -> Iterator[int]:
    """Return a free port that nobody else is given before the block ends.

    On Linux a socket stays bound to it meanwhile: the kernel hands the port to no one who asks for
    a free one, and a server that sets SO_REUSEADDR or SO_REUSEPORT, as they do, may listen on it.
    Without `hold`, and on other systems, it is let go of at once, and who is quick may take it.

    Raises:
        LaunchError: the host is not an address of this machine.
    """
    with _bind(host, 0, hold=hold) as listener:
        port: int = listener.getsockname()[1]
        if not (hold and sys.platform == "linux"):
            listener.close()
        yield port


@contextmanager
def _bind(host: str, port: int, *, hold: bool = False) -> Iterator[socket.socket]:
    problem = ""
    listener = None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        # Connections of an earlier server that still fade out do not take a port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hold and hasattr(socket, "SO_REUSEPORT"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(place)
    except socket.gaierror:
        problem = f"{host!r} is not a host that is known here"
    except OSError as error:
        problem = _explain_bind_error(host, port, error)
    if problem:
        if listener is not None:
            listener.close()
        raise LaunchError(problem)
    assert listener is not None
    with listener:
        yield listener


def _explain_bind_error(host: str, port: int, error: OSError) -> str:
    if error.errno != errno.EADDRINUSE:
        return f"port {port} on {host}: {error.strerror}"
    ours = [each for each in running_records() if each.url.endswith(f":{port}")]
    by = f" by the server of {ours[0].name} (pid {ours[0].pid})" if ours else ""
    return f"port {port} on {host} is taken{by}: choose another, or 0 for a free one"
