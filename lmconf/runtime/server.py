"""The local server behind an LM and its copies: started once, ended when nobody needs it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from lmconf.errors import Closed, LaunchError, UsageError
from lmconf.launchers import LAUNCH, LaunchSpec, launcher
from lmconf.launchers.server_protocol import StartOptions
from lmconf.providers.catalogue import provider_of
from lmconf.schema.declaration import field_names
from lmconf.system.fork import Mutex
from lmconf.system.interrupts import start_thread
from lmconf.system.paths import with_home
from lmconf.system.refcount import ResourceHold, SharedResource
from lmconf.system.signal import OneShotEvent
from lmconf.system.tracebacks import hide_frames

if TYPE_CHECKING:
    from lmconf.launchers.server_protocol import Server

__all__ = ["LaunchedServer", "OwnServer", "ServerStart", "fingerprint_of"]


class ServerStart:
    """The start of one server as `spec` says, in a thread of its own: nobody's wait ends it.

    `signal` is given when it has ended, well or not; `result` is what came of it then.
    """

    def __init__(self, spec: LaunchSpec, work: Callable[[ServerStart], Server]) -> None:
        self.spec = spec
        self.signal = OneShotEvent()
        self._work = work
        self._unwanted = False
        self._process = os.getpid()
        self._server: Server | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="lmconf-launch", daemon=True)
        start_thread(self._thread)

    def _run(self) -> None:
        try:
            self._server = self._work(self)
        except BaseException as error:  # noqa: BLE001 - it is raised where the server is waited for
            self._failure = error
        finally:
            del self._work
            self.signal.give()

    def is_unwanted(self) -> bool:
        """Say whether it was cancelled."""
        return self._unwanted

    def cancel(self) -> None:
        """Give the start up; whoever waits for it gets an error."""
        self._unwanted = True

    @property
    def joinable(self) -> bool:
        """Whether it goes on and may come to something here: a fork has no part in it."""
        here = self._process == os.getpid()
        return here and not self._unwanted and not self.signal.given

    def wait(self) -> None:
        """Wait for the end of it; the thread that does the work waits for nobody."""
        if threading.current_thread() is not self._thread and self._process == os.getpid():
            self.signal.wait(math.inf)

    def result(self) -> Server:
        """Return the server, once `signal` was given.

        Raises:
            LaunchError: it could not be started. Everybody has an error of their own.
        """
        failure = self._failure
        if isinstance(failure, LaunchError):
            raise LaunchError(str(failure))
        if failure is not None:
            raise failure
        assert self._server is not None
        return self._server


_STEERING = field_names(LaunchSpec, lambda field: field.role == "identity")
_OF_THE_PROCESS = (*_STEERING, *field_names(LaunchSpec, lambda field: field.tells_apart))
"""What two processes must say alike before one uses the other's server."""

_LOOK = 5.0
"""The most seconds between two looks at how long a server has been idle."""


class LaunchedServer(SharedResource):
    """A server that is started when it is first needed.

    LMs that are copies of one another share one as long as they say the same of it. It ends when
    the last of them is closed or gone, and with the interpreter. One that the command line keeps
    running is used in place of another like it, and stays.

    `lock` is held for moments only: event loops take it, and finalizers. Whoever starts or stops a
    server has the turn, and needs no lock while it has it.
    """

    def __init__(
        self, spec: LaunchSpec, model: str, given: Mapping[str, str], name: str = ""
    ) -> None:
        super().__init__()
        self.spec = spec
        self.model = model
        self.name = name
        self._given = given
        # A finalizer that ends it may come in any thread.
        self._turn = Mutex()
        self._start: ServerStart | None = None
        self._leaving: list[Server] = []
        self._server: Server | None = None
        self._at_exit: weakref.finalize[[], LaunchedServer] | None = None
        self._started = spec
        self._stays = False
        self._calls = 0
        self._used = time.monotonic()

    @property
    def server(self) -> Server | None:
        """The running server; None before it was started and after it ended."""
        server = self._server
        return server if server is not None and server.status() == "running" else None

    def fits(self, spec: LaunchSpec | None, model: str) -> bool:
        """Say whether an LM with `spec` and `model` wants this very server."""
        return spec == self.spec and model == self.model

    @hide_frames
    def start(self, spec: LaunchSpec | None = None, manner: StartOptions | None = None) -> Server:
        """Return the running server, started now if it is not running, as `spec` says.

        Raises:
            LaunchError: it cannot be started, or runs and is not as `spec` says.
            UsageError: `spec` asks for a server that would give other answers.
        """
        wanted = spec or self.spec
        for name in _STEERING:
            if getattr(wanted, name) != getattr(self.spec, name):
                raise UsageError(
                    f"`launch_kwargs.{name}` decides what the server answers, and belongs to the"
                    f" LM: use lm.copy(launch_kwargs=…).launch()"
                )
        with self.lock:
            current, server = self._current_start(), self.server  # in this order: see `_keep`
            as_it_is = self._started if server is not None else current.spec if current else wanted
            if spec is not None and spec != as_it_is:
                raise LaunchError("the server runs with other arguments: call kill() first")
            if server is not None:
                return server
            start = current or self._begin(wanted, manner)
        try:
            start.wait()
        except BaseException:
            start.cancel()
            start.wait()
            raise
        return start.result()

    def begin(self) -> ServerStart:
        """Return the start of the server, which goes on by itself, begun now if it was not.

        Raises:
            LaunchError: nothing says which kind of server to start.
        """
        with self.lock:
            return self._current_start() or self._begin(self.spec, None)

    def _current_start(self) -> ServerStart | None:
        return self._start if self._start is not None and self._start.joinable else None

    def _begin(self, wanted: LaunchSpec, manner: StartOptions | None) -> ServerStart:
        if wanted.use is None:
            raise LaunchError("nothing says which kind of server to start: state `use`")
        self._start = ServerStart(wanted, lambda start: self._load(start, manner))
        return self._start

    def _load(self, start: ServerStart, manner: StartOptions | None) -> Server:
        """Return the server that `start` is the start of, and keep it."""
        with self._turn:
            server = self.server
            if server is None:
                self._stop(for_all=False)  # one that died
                server = self._find_running(start.spec)
                if server is not None:
                    self._keep(server, start.spec, stays=True)
                else:
                    server = self._start_server(start, manner)
        return server

    def _start_server(self, start: ServerStart, manner: StartOptions | None) -> Server:
        wanted = start.spec
        manner = msgspec.structs.replace(
            manner or StartOptions(name=self.name),
            fingerprint=fingerprint_of(wanted, self.model),
            unwanted=start.is_unwanted,
        )
        assert wanted.use is not None
        server = launcher(wanted.use).start(wanted, self.model, self._given, manner)
        self._keep(server, wanted, stays=manner.detached)
        # One that is kept for other processes is not idle because this one sends nothing.
        if wanted.ttl is not None and not manner.detached and not manner.shared:
            _watch(self, server, wanted.ttl)
        return server

    def _keep(self, server: Server, spec: LaunchSpec, *, stays: bool) -> None:
        """Have `server` found by whoever looks, before nobody is found any more who starts it."""
        if not stays:
            self._at_exit = weakref.finalize(self, server.stop)
        self._stays, self._started, self._used = stays, spec, time.monotonic()
        self._server = server

    def _find_running(self, wanted: LaunchSpec) -> Server | None:
        """Return a server of another process that is like the one that is wanted."""
        from lmconf.launchers.records import AttachedServer, running_records

        if self._given:
            return None  # what was given in code is in no fingerprint
        fingerprint = fingerprint_of(wanted, self.model)
        for record in running_records():
            port = record.url.rpartition(":")[2]
            if (
                record.shared
                and not record.loads
                and record.fingerprint == fingerprint
                and (not wanted.port or port == str(wanted.port))
            ):
                return AttachedServer(record)
        return None

    def begin_call(self) -> Callable[..., None]:
        """Take note of a call that needs the server; what is returned is called at its end."""
        with self.lock:
            self._calls += 1
        return self._end_call

    def _end_call(self, *_: object) -> None:
        with self.lock:
            self._calls -= 1
            self._used = time.monotonic()

    def end_if_idle(self, server: Server, ttl: float) -> float | None:
        """End `server` if it was not used for `ttl` seconds; return when to look again."""
        with self.lock:
            if self._server is not server:
                return None
            left = self._used + ttl - time.monotonic()
            if self._calls or left > 0:
                return ttl if self._calls else max(left, 0.05)
            # A call that begins now starts another, once this one has left its port.
            self._leaving.append(server)
            self._server = None
        with self._turn:
            self._stop(for_all=False)
        return None

    def end(self) -> None:
        """End the server if it runs or is started, and is nobody else's; `start` starts another."""
        self._end(for_all=False)

    def kill(self) -> None:
        """End the server if it runs or is started, also one that stays without this process."""
        self._end(for_all=True)

    def _end(self, *, for_all: bool) -> None:
        start = self._start
        if start is not None:
            start.cancel()
        with self._turn:
            self._stop(for_all=for_all)

    def _stop(self, *, for_all: bool) -> None:
        """Stop what runs, and what is to be stopped since; only who has the turn may."""
        server, self._server = self._server, None
        if server is not None and (for_all or not self._stays):
            self._leaving.append(server)
        while self._leaving:
            self._leaving.pop().stop()
        if self._at_exit is not None:
            self._at_exit.detach()
        self._at_exit, self._stays = None, False


class OwnServer:
    """The server of one LM's own, as the LM's calls use it.

    Args:
        name: What messages call the LM.
        model: The model with its provider, which decides where its API begins.
        hold: The LM's hold on the server, which it shares with its copies.
    """

    def __init__(self, name: str, model: str, hold: ResourceHold[LaunchedServer]) -> None:
        self._name = name
        # The base of these two APIs ends above the version.
        self._above = provider_of(model)[0] in ("anthropic", "ollama", "ollama_chat")
        self._hold = hold

    @property
    def origin(self) -> str:
        """What tells the server from all others, wherever it listens."""
        return f"launched:{id(self._hold.shared)}"

    @property
    def running(self) -> Server | None:
        """The server while it runs.

        Raises:
            Closed: the LM was closed.
        """
        if self._hold.let_go:
            raise Closed("the LM was closed", lm=self._name)
        return self._hold.shared.server

    def base_at(self, server: Server) -> str:
        """Return the base of the LM's API at `server`."""
        return server.url if self._above else server.api_base

    def begin_start(self) -> ServerStart:
        """Return the start of the server, which goes on whoever waits for it.

        Raises:
            LaunchError: only `launch()` may start it.
        """
        launched = self._hold.shared
        if launched.spec.auto == "manual":
            raise LaunchError(
                f"{self._name}: its server is not running; call launch() first, or run"
                " `lmconf launch`"
            )
        return launched.begin()

    def begin_call(self) -> Callable[..., None]:
        """Note that a call needs the server; call what is returned at its end."""
        return self._hold.shared.begin_call()


def fingerprint_of(spec: LaunchSpec, model: str) -> str:
    """Return what servers have in common that may stand in for one another.

    References count by what they name, weights by where they are; a file that changed since is
    another.
    """
    written = LAUNCH.write(spec)
    stated = {name: written[name] for name in _OF_THE_PROCESS if name in written}
    weights = with_home(spec.weights or model)
    try:
        found = weights.stat()
        file = [str(weights.absolute()), found.st_mtime_ns, found.st_size]
    except (OSError, ValueError):
        file = []
    text = json.dumps([model, stated, file, os.getuid()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _watch(launched: LaunchedServer, server: Server, ttl: float) -> None:
    """End `server` once it was idle for `ttl` seconds; the thread keeps neither of them."""
    held, watched = weakref.ref(launched), weakref.ref(server)

    def look() -> None:
        wait: float | None = ttl
        while wait is not None:
            time.sleep(min(wait, _LOOK))
            owner, running = held(), watched()
            if owner is None or running is None:
                return
            wait = owner.end_if_idle(running, ttl)
            del owner, running

    start_thread(threading.Thread(target=look, name="lmconf-idle-server", daemon=True))
