"""What a kind of server must offer: how it is started, and what a started one can tell and do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct

from lmconf.launchers.specs import LaunchSpec

__all__ = ["PLAIN", "Launcher", "Server", "StartOptions", "Status"]

Status = Literal["running", "stopped", "died"]
"""`stopped` was asked for; `died` was not."""


class StartOptions(Struct, frozen=True, kw_only=True):
    """How a server is started, beyond what it is: nothing here changes its answers.

    `name` is what people call it. A `detached` server outlives its owner. A `shared` one may be
    used by other processes of this user whose own server would have the same `fingerprint`.
    `on_log` is called with the path of its log as soon as there is one, `on_progress` with how far
    a download of its model is. A start is given up as soon as `is_unwanted` says so.
    """

    name: str = ""
    detached: bool = False
    shared: bool = False
    fingerprint: str = ""
    on_log: Callable[[Path], object] | None = None
    on_progress: Callable[[str], object] = str
    is_unwanted: Callable[[], bool] = bool


PLAIN = StartOptions()
"""As a program starts a server for its own use."""


class Server(Protocol):
    """A server that was ready to answer when `start` returned it."""

    @property
    def url(self) -> str:
        """Its origin: `http://127.0.0.1:40123`."""

    @property
    def api_base(self) -> str:
        """Where its OpenAI-compatible routes begin: `http://127.0.0.1:40123/v1`."""

    @property
    def model(self) -> str:
        """The name under which it serves the model."""

    @property
    def pid(self) -> int:
        """The process id of the server itself."""

    @property
    def log(self) -> Path:
        """The file that holds the latest of what it wrote."""

    def logs(self, lines: int = 25) -> str:
        """Return the last lines that it wrote, without anything that looks to be secret."""

    def status(self) -> Status:
        """Say whether it is running now."""

    def stop(self) -> None:
        """End it and everything it started; nothing happens the second time."""


class Launcher(Protocol):
    """A kind of server."""

    def start(
        self,
        spec: LaunchSpec,
        model: str,
        code_values: Mapping[str, str] | None = None,
        manner: StartOptions = PLAIN,
    ) -> Server:
        """Return a server that serves `model` under that name, ready to answer.

        `code_values` holds the values of `{$given: name}` references in `spec`.

        Raises:
            LaunchError: it could not be started, ended early, serves something else, or was not
                ready within `spec.ready.timeout`; nothing of it is left running.
        """
