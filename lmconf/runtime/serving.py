"""The local server behind an LM and its copies: started once, ended when nobody needs it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lmconf.errors import LaunchError
from lmconf.frames import without_frames
from lmconf.launchers import LaunchSpec, launcher

if TYPE_CHECKING:
    from lmconf.launchers.contract import Server

__all__ = ["Launched"]


class Launched:
    """A server that is started when it is first needed.

    LMs that are copies of one another share one as long as they say the same of it. It ends when
    the last of them is closed or gone, and with the interpreter.
    """

    def __init__(self, spec: LaunchSpec, model: str, given: Mapping[str, str]) -> None:
        self.spec = spec
        self.model = model
        self._given = given
        # A finalizer may run in the thread that holds it.
        self._lock = threading.RLock()
        self._users = 0
        self._server: Server | None = None

    @property
    def server(self) -> Server | None:
        """The running server; None before it was started and after it ended."""
        return self._server

    def fits(self, spec: LaunchSpec | None, model: str) -> bool:
        """Say whether an LM with `spec` and `model` wants this very server."""
        return spec == self.spec and model == self.model

    @without_frames
    def start(self) -> Server:
        """Return the running server, started now if it is not running.

        Raises:
            LaunchError: it cannot be started.
        """
        with self._lock:
            if self._server is not None and self._server.status() == "running":
                return self._server
            if self.spec.use is None:
                raise LaunchError("nothing says which kind of server to start: state `use`")
            self._end()
            self._server = launcher(self.spec.use).start(self.spec, self.model, self._given)
            return self._server

    def stop(self) -> None:
        """End the server if it runs; `start` starts another."""
        with self._lock:
            self._end()

    def join(self, user: object) -> Callable[[], object]:
        """Note that `user` needs the server, and return what notes that it no longer does.

        That happens by itself when `user` is gone; the last one to leave ends the server.
        """
        with self._lock:
            self._users += 1
        return weakref.finalize(user, self._leave)

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users <= 0:
                self._end()

    def _end(self) -> None:
        if self._server is not None:
            self._server.stop()
        self._server = None
