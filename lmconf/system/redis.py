"""A process's connection to a Redis server that is waited for no longer than somebody says.

Connections are made by a thread of their own; while there is none, and for a while after one was
lost, whoever asks is refused at once. No message repeats what the client says: it may hold the
address's password.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lmconf.errors import Error
from lmconf.system.circuit_breaker import CircuitBreaker, Rest
from lmconf.system.durations import format_duration
from lmconf.system.fork import register_forkable
from lmconf.system.optional import require
from lmconf.system.tracebacks import is_interrupt

if TYPE_CHECKING:
    import redis

__all__ = ["RedisLink", "RedisUnreachable", "require_redis"]

T = TypeVar("T")

_FIRST_REST = 1.0


class RedisUnreachable(Exception):
    """The server cannot be used now; the message says why, without its address."""


class RedisLink:
    """The connections to the server at the address that `url` returns, for all threads.

    `url` is asked anew for each connection; it may raise an `Error`. `patiences` are the seconds
    that `do` may be asked to wait. After a failure the server is left alone for a second, and
    twice as long after each further one, up to `longest_rest`. `failed` is told of each failure,
    in the thread that met it.
    """

    def __init__(
        self,
        url: Callable[[], str],
        patiences: tuple[float, ...],
        *,
        longest_rest: float,
        failed: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._url = url
        self._patiences = patiences
        self._rest = Rest(_FIRST_REST, longest=longest_rest)
        self._failed = failed
        self._why = ""
        # One client for each patience: it is the client that ends a wait.
        self._clients: dict[float, redis.Redis] | None = None
        self._breaker = CircuitBreaker()
        self._waited = False
        self._connecting: threading.Event | None = None
        self._lock = threading.RLock()
        register_forkable(self)

    def do(
        self,
        work: Callable[[redis.Redis], T],
        patience: float,
        *,
        waits_once: bool = False,
        again: bool = False,
    ) -> T:
        """Return what `work` makes of the server, each of whose answers takes `patience` at most.

        The connection is waited for as long; with `waits_once` by the first who needs it, and not
        by those after him. With `again` the work is done once more where a connection that was
        there is lost: it must be of such a kind that doing it twice is doing it once.

        Raises:
            RedisUnreachable: it cannot be done.
        """
        known = self._clients
        clients = known or self._connect(patience, waits_once=waits_once)
        if clients is None:
            raise RedisUnreachable(
                self._why or f"the server has not answered for {format_duration(patience)}"
            )
        from redis.exceptions import RedisError

        failure: Exception
        try:
            return work(clients[patience])
        except (RedisError, OSError) as error:
            if is_interrupt(error):
                raise
            failure = error
        if again and known is not None and _is_lost(failure):
            self._drop(clients)
            return self.do(work, patience, waits_once=waits_once)
        self._drop_lost(failure, clients)
        raise RedisUnreachable(_reason(failure))

    @property
    def connecting(self) -> bool:
        """Whether a connection is being made."""
        return self._connecting is not None

    def close(self) -> None:
        """Close the connections; later work opens them again."""
        with self._lock:
            clients, self._clients = self._clients, None
        for client in (clients or {}).values():
            client.close()

    def _connect(self, patience: float, *, waits_once: bool) -> dict[float, redis.Redis] | None:
        """Return the clients once they are connected, None if that takes long or just failed."""
        import redis  # noqa: F401 - what loading it takes is no fault of the server's

        with self._lock:
            if self._clients is not None:
                return self._clients
            made = self._connecting
            if made is None:
                if self._breaker.rests_for:
                    return None
                made = self._connecting = threading.Event()
                connect = threading.Thread(
                    target=self._begin, args=(made,), name="lmconf redis", daemon=True
                )
                try:
                    connect.start()
                except RuntimeError:  # the process ends
                    self._connecting = None
                    return None
            wait = 0.0 if waits_once and self._waited else patience
            self._waited = True
        made.wait(wait)
        return self._clients

    def _begin(self, made: threading.Event) -> None:
        clients: dict[float, redis.Redis] | None = None
        failure: Exception | None = None
        try:
            clients = _connect(self._url(), self._patiences)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, it is told
            failure = error
        with self._lock:
            self._connecting = None
            if failure is None:
                self._clients = clients
                self._breaker.record_success()
                self._why, self._waited = "", False
            else:
                self._take_rest(failure)
        try:
            if failure is not None:
                self._failed(_reason(failure))
        finally:
            made.set()

    def _drop_lost(self, error: Exception, clients: dict[float, redis.Redis]) -> None:
        with self._lock:
            if _is_lost(error):
                self._drop(clients)
            self._take_rest(error)
        self._failed(_reason(error))

    def _drop(self, clients: dict[float, redis.Redis]) -> None:
        with self._lock:
            if self._clients is clients:
                self._clients, self._waited = None, True

    def _take_rest(self, error: Exception) -> None:
        self._why = _reason(error)
        self._breaker.record_failure(self._rest)

    def before_fork(self) -> None:
        """Keep every thread from connecting."""
        self._lock.acquire()

    def after_fork(self, in_child: bool) -> None:
        """Go on; the child makes connections of its own."""
        if in_child:
            self._lock = threading.RLock()
            self._clients, self._connecting = None, None
        else:
            self._lock.release()


def _connect(url: str, patiences: tuple[float, ...]) -> dict[float, redis.Redis]:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    def client(patience: float) -> redis.Redis:
        made = redis.Redis.from_url(
            url,
            socket_connect_timeout=max(patiences),
            socket_timeout=patience,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        made.ping()
        # The first connection may take its time, as nobody need wait for it; those that follow
        # are made while somebody waits.
        made.connection_pool.connection_kwargs["socket_connect_timeout"] = patience
        return made

    return {patience: client(patience) for patience in patiences}


def _is_lost(error: Exception) -> bool:
    from redis.exceptions import ConnectionError as Lost
    from redis.exceptions import TimeoutError as Late

    return isinstance(error, Lost | Late | OSError)


def _reason(error: Exception) -> str:
    if isinstance(error, Error):
        return str(error)
    if isinstance(error, ValueError):
        return "the address is not one of a Redis server"
    return f"the server cannot be used ({type(error).__name__})"


def require_redis() -> None:
    """Raise where the client for Redis is missing.

    Raises:
        MissingDependency: it is; the message says what to install.
    """
    require("redis", "redis", "a store with `backend: redis`")
