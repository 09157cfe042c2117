"""The server that belongs to one LM: started once, when it is first wanted, and then kept."""

from __future__ import annotations

from collections.abc import Mapping

from lmconf.errors import LaunchError
from lmconf.forking import Mutex
from lmconf.launchers import launcher
from lmconf.launchers.contract import Server, Status
from lmconf.launchers.specs import LaunchSpec

__all__ = ["OwnServer"]


class OwnServer:
    """The server that `spec` describes, whether it runs or not.

    `start` may be called from any number of threads and as often as one likes: there is one
    server. One that died is started anew by the next `start`.
    """

    def __init__(
        self, spec: LaunchSpec, model: str, given: Mapping[str, str] | None = None
    ) -> None:
        self.spec = spec
        self.model = model
        self._given = dict(given or {})
        self._lock = Mutex()
        self._server: Server | None = None

    def __repr__(self) -> str:
        return f"OwnServer({self.model!r}, {self.spec.use!r}, {self.status()})"

    @property
    def server(self) -> Server | None:
        """The server if one runs, else None."""
        server = self._server
        return server if server is not None and server.status() == "running" else None

    def status(self) -> Status:
        """Say whether it is running now; what was never started is `stopped`."""
        server = self._server
        return "stopped" if server is None else server.status()

    def start(self) -> Server:
        """Return the running server, starting it if there is none.

        Raises:
            LaunchError: it cannot be started; a later `start` tries again.
        """
        with self._lock:
            running = self.server
            if running is not None:
                return running
            if self._server is not None:
                self._server.stop()
                self._server = None
            if self.spec.use is None:
                raise LaunchError(f"no kind of server is known for {self.model!r}: say `use`")
            self._server = launcher(self.spec.use).start(self.spec, self.model, self._given)
            return self._server

    def stop(self) -> None:
        """End the server if there is one; a later `start` starts another."""
        with self._lock:
            if self._server is not None:
                self._server.stop()
                self._server = None
