"""Finding the way to a server takes no longer than the attempt may, and blocks no event loop."""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Any, Generic, TypeAlias, TypeVar

import anyio
import httpx
from msgspec import Struct

from lmconf.errors import AuthenticationFailed, CallError, NotCarriedOut, Timeout
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.redaction import mask_secrets
from lmconf.secrets.references import Masked
from lmconf.system.durations import format_duration
from lmconf.system.fork import Mutex
from lmconf.system.interrupts import start_thread
from lmconf.system.optional import install_command
from lmconf.transports.status_errors import LONGEST
from lmconf.transports.transport import Request

__all__ = [
    "CloudRoute",
    "CredentialCache",
    "Shape",
    "Sign",
    "afind_route",
    "find_route",
    "missing",
    "refusal",
]

T = TypeVar("T")

Shape: TypeAlias = Callable[[httpx.URL, bytes], "tuple[httpx.URL, bytes]"]
"""Changes address and body of a request as litellm shapes it into those that the server takes."""

Sign: TypeAlias = Callable[[httpx.Request], Mapping[str, str]]
"""Returns the headers that carry the credential of a request that is otherwise complete."""


class CloudRoute(Masked, Struct, frozen=True, eq=False, kw_only=True):
    """How litellm is told of a request, and what becomes of it where it leaves.

    `request` is what litellm shapes: its connection has a base. `told` are further keywords for
    litellm. `secrets` are texts that no message may repeat.
    """

    request: Request
    told: Mapping[str, Any] = FrozenMap()
    shape: Shape | None = None
    sign: Sign | None = None
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Reached({self.request!r})"


class CredentialCache(Generic[T]):
    """What a cloud's SDK found, by a digest of what decides it; one thread at a time looks."""

    def __init__(self) -> None:
        self._lock = Mutex()
        self._found: dict[str, tuple[float, T]] = {}

    def get(self, decides: object, find: Callable[[], T], seconds: float = math.inf) -> T:
        """Return what `find` found when it was last called, no longer than `seconds` ago."""
        digest = hashlib.sha256(repr(decides).encode()).hexdigest()
        with self._lock:
            at, found = self._found.get(digest, (-math.inf, None))
            if found is not None and time.monotonic() - at < seconds:
                return found
            if len(self._found) >= _MOST_KEPT:
                self._found.clear()
            made = find()
            self._found[digest] = (time.monotonic(), made)
            return made


_MOST_KEPT = 32


def find_route(way: Callable[[], CloudRoute], seconds: float) -> CloudRoute:
    """Return what `way` finds.

    Raises:
        CallError: it finds nothing, or takes longer than `seconds`.
    """
    future = _run_in_daemon_thread(way)
    failure: CallError
    try:
        return future.result(timeout=max(seconds, 0.0))
    except NotInTime:
        failure = _timeout_error(seconds)
    except CallError as error:
        failure = error
    raise failure.with_traceback(None)


async def afind_route(way: Callable[[], CloudRoute], seconds: float) -> CloudRoute:
    """Return what `way` finds, which runs beside the event loop.

    Raises:
        CallError: it finds nothing, or takes longer than `seconds`.
    """
    future = _run_in_daemon_thread(way)
    failure: CallError
    try:
        with anyio.fail_after(max(seconds, 0.0)):
            return await asyncio.wrap_future(future)
    except TimeoutError:
        failure = _timeout_error(seconds)
    except CallError as error:
        failure = error
    raise failure.with_traceback(None)


def _run_in_daemon_thread(way: Callable[[], CloudRoute]) -> Future[CloudRoute]:
    """Run `way` in a thread that no one has to wait for at exit."""
    future: Future[CloudRoute] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        failure: CallError | None = None
        try:
            future.set_result(way())
        except CallError as error:
            failure = error.with_traceback(None)
        except Exception as error:  # noqa: BLE001 - whatever an SDK raises becomes a CallError
            failure = refusal(error, ())
        if failure is not None:
            failure.__context__ = failure.__cause__ = None
            future.set_exception(failure)

    start_thread(threading.Thread(target=run, name="lmconf-credential", daemon=True))
    return future


def _timeout_error(seconds: float) -> Timeout:
    return Timeout(f"no credential was found within {format_duration(max(seconds, 0.0))}")


def refusal(error: BaseException, secrets: Iterable[str], help: str = "") -> AuthenticationFailed:
    """Return the failure behind what an SDK raised when it was asked for a credential."""
    said = mask_secrets(" ".join(str(error).split()), secrets)[:LONGEST]
    return AuthenticationFailed(
        f"no credential was found: {said or type(error).__name__}",
        help=help or "see what the cloud's own command-line tool says of the account",
    )


def missing(provider: str, package: str, extra: str) -> NotCarriedOut:
    """Return the failure of a provider whose SDK is not installed."""
    return NotCarriedOut(
        f"{provider}/ needs the package {package} for its credentials",
        help=install_command(extra),
    )
