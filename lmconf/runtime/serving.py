"""The local server behind an LM and its copies: started once, ended when nobody needs it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lmconf.errors import LaunchError, UsageError
from lmconf.frames import without_frames
from lmconf.launchers import LaunchSpec, launcher
from lmconf.runtime.sharing import Shared
from lmconf.spec.declaring import fields

if TYPE_CHECKING:
    from lmconf.launchers.contract import Server

__all__ = ["Launched"]

_STEERING = tuple(name for name, field in fields(LaunchSpec).items() if field.role == "identity")


class Launched(Shared):
    """A server that is started when it is first needed.

    LMs that are copies of one another share one as long as they say the same of it. It ends when
    the last of them is closed or gone, and with the interpreter.
    """

    def __init__(self, spec: LaunchSpec, model: str, given: Mapping[str, str]) -> None:
        super().__init__()
        self.spec = spec
        self.model = model
        self._given = given
        self._server: Server | None = None
        self._at_exit: weakref.finalize[[], Launched] | None = None
        self._started = spec

    @property
    def server(self) -> Server | None:
        """The running server; None before it was started and after it ended."""
        return self._server

    def fits(self, spec: LaunchSpec | None, model: str) -> bool:
        """Say whether an LM with `spec` and `model` wants this very server."""
        return spec == self.spec and model == self.model

    @without_frames
    def start(self, spec: LaunchSpec | None = None) -> Server:
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
            if self._server is not None and self._server.status() == "running":
                if spec is not None and spec != self._started:
                    raise LaunchError("the server runs with other arguments: call kill() first")
                return self._server
            if wanted.use is None:
                raise LaunchError("nothing says which kind of server to start: state `use`")
            self.end()
            self._server = launcher(wanted.use).start(wanted, self.model, self._given)
            self._at_exit = weakref.finalize(self, self._server.stop)
            self._started = wanted
            return self._server

    def end(self) -> None:
        """End the server if it runs; `start` starts another."""
        with self.lock:
            if self._server is not None:
                self._server.stop()
            if self._at_exit is not None:
                self._at_exit.detach()
            self._server = self._at_exit = None
