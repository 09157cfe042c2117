"""A server that is being started, and everybody who waits for it."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from lmconf.errors import LaunchError
from lmconf.launchers import LaunchSpec
from lmconf.runtime.signals import Signal

if TYPE_CHECKING:
    from lmconf.launchers.contract import Server

__all__ = ["Loading"]


class Loading:
    """The start of one server as `spec` says, in a thread of its own: nobody's wait ends it.

    `signal` is given when it has ended, well or not; `result` is what came of it then.
    """

    def __init__(self, spec: LaunchSpec, work: Callable[[Loading], Server]) -> None:
        self.spec = spec
        self.signal = Signal()
        self._work = work
        self._unwanted = False
        self._process = os.getpid()
        self._server: Server | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="lmconf-launch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._server = self._work(self)
        except BaseException as error:  # noqa: BLE001 - it is raised where the server is waited for
            self._failure = error
        finally:
            del self._work
            self.signal.give()

    def unwanted(self) -> bool:
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
